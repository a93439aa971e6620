# cmake --install BUILD --prefix PREFIX. unetd finds lib/unetd and share/unetd from its own place in bin, so these are
# not GNUInstallDirs' folders.
if(NOT TARGET unetd)
  return()
endif()
get_property(backends GLOBAL PROPERTY UNETD_BACKENDS)
install(TARGETS unetd unetctl RUNTIME DESTINATION bin)
install(TARGETS ${backends} LIBRARY DESTINATION lib/unetd)
install(FILES config/unetd.json config/docker.json config/unetd.schema.json LICENSE DESTINATION share/unetd)
install(DIRECTORY config/digits DESTINATION share/unetd
  FILES_MATCHING PATTERN *.json PATTERN *.safetensors PATTERN README.md)
