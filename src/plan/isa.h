// src/plan/isa.h - which kernel table new plans use.
#pragma once

#include "kernels/kernels.h"

namespace regard::plan {

const kernels::KernelTable& active_table();

}  // namespace regard::plan
