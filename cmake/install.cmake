# cmake/install.cmake - the package: find_package(regard CONFIG REQUIRED) gives regard::regard and regard::model.
include(CMakePackageConfigHelpers)
set(REGARD_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/regard)

set(REGARD_INSTALLED regard)
set(REGARD_CARRIED hwy)
if(REGARD_MODEL)
  list(APPEND REGARD_INSTALLED regard_model)
  list(APPEND REGARD_CARRIED utf8proc libmd)
endif()
if(REGARD_CLI)
  list(APPEND REGARD_INSTALLED regard_cli)
endif()
install(TARGETS ${REGARD_INSTALLED} EXPORT regardTargets)

# Shared libraries contain the libraries they need. Static ones bring them along, in a folder and under names of their own.
if(NOT BUILD_SHARED_LIBS)
  set_target_properties(hwy PROPERTIES OUTPUT_NAME regard_hwy)
  install(TARGETS ${REGARD_CARRIED} EXPORT regardTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/regard)
endif()

if(REGARD_MODEL)
  install(DIRECTORY include/regard DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
else()
  install(DIRECTORY include/regard DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} PATTERN model EXCLUDE)
endif()
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
foreach(license ${REGARD_LICENSES})
  string(REPLACE "/" "-" name ${license})
  install(FILES ${REGARD_THIRD_PARTY}/${license} DESTINATION ${CMAKE_INSTALL_DOCDIR}/third_party RENAME ${name})
endforeach()

install(EXPORT regardTargets NAMESPACE regard:: DESTINATION ${REGARD_PACKAGE_DIR})
configure_package_config_file(cmake/regardConfig.cmake.in ${PROJECT_BINARY_DIR}/regardConfig.cmake
                              INSTALL_DESTINATION ${REGARD_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/regardConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/regardConfig.cmake ${PROJECT_BINARY_DIR}/regardConfigVersion.cmake
        DESTINATION ${REGARD_PACKAGE_DIR})
