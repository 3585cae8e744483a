# cmake/third_party.cmake - libraries from build/third_party (tools/fetch_third_party.py); docs/dependencies.md says why each.
set(REGARD_THIRD_PARTY ${PROJECT_SOURCE_DIR}/build/third_party CACHE PATH "Where fetch_third_party.py put the sources")

function(regard_third_party name)
  if(NOT EXISTS ${REGARD_THIRD_PARTY}/${name})
    message(FATAL_ERROR "regard needs ${name}: run tools/fetch_third_party.py ${REGARD_THIRD_PARTY}")
  endif()
endfunction()

# Highway: SIMD and run-time dispatch, its thread pool.
regard_third_party(highway)
set(HWY_ENABLE_TESTS OFF CACHE INTERNAL "")
set(HWY_ENABLE_EXAMPLES OFF CACHE INTERNAL "")
set(HWY_ENABLE_CONTRIB OFF CACHE INTERNAL "")
set(HWY_ENABLE_INSTALL OFF CACHE INTERNAL "")
set(BUILD_TESTING OFF CACHE INTERNAL "")
add_subdirectory(${REGARD_THIRD_PARTY}/highway ${CMAKE_BINARY_DIR}/third_party/highway EXCLUDE_FROM_ALL SYSTEM)

if(REGARD_MODEL)
  regard_third_party(nlohmann-json)
  add_library(nlohmann_json INTERFACE)
  target_include_directories(nlohmann_json SYSTEM INTERFACE ${REGARD_THIRD_PARTY}/nlohmann-json/include)

  regard_third_party(utf8proc)
  add_library(utf8proc STATIC ${REGARD_THIRD_PARTY}/utf8proc/utf8proc.c)
  target_include_directories(utf8proc SYSTEM PUBLIC $<BUILD_INTERFACE:${REGARD_THIRD_PARTY}/utf8proc>)
  target_compile_definitions(utf8proc PUBLIC UTF8PROC_STATIC)

  # libmd: SHA-256. One file of it; its configure script would only find what every platform of ours has.
  regard_third_party(libmd)
  file(WRITE ${CMAKE_BINARY_DIR}/third_party/libmd/config.h "#include <sys/types.h>\n")
  add_library(libmd STATIC ${REGARD_THIRD_PARTY}/libmd/src/sha2.c)
  target_include_directories(libmd SYSTEM PUBLIC $<BUILD_INTERFACE:${REGARD_THIRD_PARTY}/libmd/include>
                                   PRIVATE ${CMAKE_BINARY_DIR}/third_party/libmd)
endif()

if(REGARD_CLI)
  regard_third_party(cli11)
  add_library(CLI11 INTERFACE)
  target_include_directories(CLI11 SYSTEM INTERFACE ${REGARD_THIRD_PARTY}/cli11/include)
endif()

if(REGARD_TESTS)
  regard_third_party(googletest)
  set(INSTALL_GTEST OFF CACHE INTERNAL "")
  add_subdirectory(${REGARD_THIRD_PARTY}/googletest ${CMAKE_BINARY_DIR}/third_party/googletest EXCLUDE_FROM_ALL SYSTEM)
endif()

if(REGARD_BENCH)
  regard_third_party(benchmark)
  set(BENCHMARK_ENABLE_TESTING OFF CACHE INTERNAL "")
  set(BENCHMARK_ENABLE_INSTALL OFF CACHE INTERNAL "")
  set(BENCHMARK_INSTALL_DOCS OFF CACHE INTERNAL "")
  add_subdirectory(${REGARD_THIRD_PARTY}/benchmark ${CMAKE_BINARY_DIR}/third_party/benchmark EXCLUDE_FROM_ALL SYSTEM)
endif()
