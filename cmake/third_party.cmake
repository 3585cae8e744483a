# cmake/third_party.cmake - libraries from build/third_party (tools/fetch_third_party.py); docs/dependencies.md says why each.
set(REGARD_THIRD_PARTY ${PROJECT_SOURCE_DIR}/build/third_party CACHE PATH "Where fetch_third_party.py put the sources")

# pip install . from a fresh clone: pip has a network too.
if(SKBUILD AND NOT EXISTS ${REGARD_THIRD_PARTY})
  execute_process(COMMAND ${Python_EXECUTABLE} ${PROJECT_SOURCE_DIR}/tools/fetch_third_party.py ${REGARD_THIRD_PARTY})
endif()

function(regard_third_party name)
  if(NOT EXISTS ${REGARD_THIRD_PARTY}/${name})
    message(FATAL_ERROR "regard needs ${name}'s sources; this fetches them:\n  python3 tools/fetch_third_party.py ${REGARD_THIRD_PARTY}")
  endif()
endfunction()

# For libraries with a CMake project of their own. Static always: what is shared is regard.
function(regard_third_party_project name)
  regard_third_party(${name})
  set(BUILD_SHARED_LIBS OFF)
  add_subdirectory(${REGARD_THIRD_PARTY}/${name} ${CMAKE_BINARY_DIR}/third_party/${name} EXCLUDE_FROM_ALL SYSTEM)
endfunction()
set(CMAKE_POLICY_DEFAULT_CMP0077 NEW) # our plain set(BUILD_SHARED_LIBS) goes before their option()

# "highway 1.2.0, ...", from the list of what was fetched: for `regard --version`.
file(STRINGS ${PROJECT_SOURCE_DIR}/tools/third_party.lock lock REGEX "^[a-z]")
foreach(line IN LISTS lock)
  if(NOT line MATCHES "^googletest " AND line MATCHES "^([^ ]+) .*_([0-9.]+[0-9])")
    list(APPEND REGARD_THIRD_PARTY_VERSIONS "${CMAKE_MATCH_1} ${CMAKE_MATCH_2}")
  endif()
endforeach()
list(JOIN REGARD_THIRD_PARTY_VERSIONS ", " REGARD_THIRD_PARTY_VERSIONS)

# Highway: SIMD and run-time dispatch, its thread pool. Its namespace is renamed, so that a program may link regard and
# another version of Highway.
set(HWY_ENABLE_TESTS OFF CACHE INTERNAL "")
set(HWY_ENABLE_EXAMPLES OFF CACHE INTERNAL "")
set(HWY_ENABLE_CONTRIB OFF CACHE INTERNAL "")
set(HWY_ENABLE_INSTALL OFF CACHE INTERNAL "")
set(BUILD_TESTING OFF CACHE INTERNAL "")
regard_third_party_project(highway)
set(REGARD_LICENSES highway/LICENSE-BSD3)  # of what is part of the libraries and the command
target_compile_definitions(hwy PUBLIC $<BUILD_INTERFACE:hwy=regard_hwy>)

if(REGARD_MODEL)
  list(APPEND REGARD_LICENSES nlohmann-json/LICENSE.MIT utf8proc/LICENSE.md libmd/COPYING)
  regard_third_party(nlohmann-json)
  add_library(nlohmann_json INTERFACE)
  target_include_directories(nlohmann_json SYSTEM INTERFACE ${REGARD_THIRD_PARTY}/nlohmann-json/include)

  regard_third_party(utf8proc)
  add_library(utf8proc STATIC ${REGARD_THIRD_PARTY}/utf8proc/utf8proc.c)
  set_target_properties(utf8proc PROPERTIES OUTPUT_NAME regard_utf8proc)
  target_include_directories(utf8proc SYSTEM PUBLIC $<BUILD_INTERFACE:${REGARD_THIRD_PARTY}/utf8proc>)
  target_compile_definitions(utf8proc PUBLIC UTF8PROC_STATIC)

  # libmd: SHA-256. One file of it; its configure script would only find what every platform of ours has.
  regard_third_party(libmd)
  file(WRITE ${CMAKE_BINARY_DIR}/third_party/libmd/config.h "#include <sys/types.h>\n")
  add_library(libmd STATIC ${REGARD_THIRD_PARTY}/libmd/src/sha2.c)
  set_target_properties(libmd PROPERTIES OUTPUT_NAME regard_md EXPORT_NAME md)
  target_include_directories(libmd SYSTEM PUBLIC $<BUILD_INTERFACE:${REGARD_THIRD_PARTY}/libmd/include>
                                   PRIVATE ${CMAKE_BINARY_DIR}/third_party/libmd)
endif()

if(REGARD_CLI)
  list(APPEND REGARD_LICENSES cli11/LICENSE)
  regard_third_party(cli11)
  add_library(CLI11 INTERFACE)
  target_include_directories(CLI11 SYSTEM INTERFACE ${REGARD_THIRD_PARTY}/cli11/include)
endif()

if(REGARD_TESTS)
  set(INSTALL_GTEST OFF CACHE INTERNAL "")
  regard_third_party_project(googletest)
endif()
