// include/regard/regard.h - everything the engine offers.
#pragma once

#include "regard/any_mask.h"
#include "regard/attention.h"
#include "regard/dtype.h"
#include "regard/executor.h"
#include "regard/isa.h"
#include "regard/linear.h"
#include "regard/luong.h"
#include "regard/mask.h"
#include "regard/plan.h"
#include "regard/probe.h"
#include "regard/reference_attention.h"
#include "regard/rope.h"
#include "regard/score_mod.h"
#include "regard/state.h"
#include "regard/tensor_view.h"
#include "regard/version.h"
