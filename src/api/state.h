// src/api/state.h - the state of rows that have seen no key yet.
#pragma once

#include "regard/state.h"

namespace regard::api {

/// Of the shape's rows; its extents have been checked.
AttentionState empty_state(const AttentionShape& shape);

}  // namespace regard::api
