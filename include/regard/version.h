// include/regard/version.h - which regard this is.
#pragma once

#define REGARD_VERSION "0.1.0"
