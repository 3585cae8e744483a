// include/regard/isa.h - the instruction sets that the engine's kernels were compiled for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace regard {

/// Names (Highway's target names) of every kernel table that this CPU can run, best first. The last
/// one is the portable table, which every CPU runs.
std::vector<std::string> supported_isas();

/// The table that plans made from now on use: the best one, or the one that was forced.
std::string active_isa();

/// Makes plans use the named table from now on; "" returns to the best one. Existing plans keep
/// theirs. Throws std::invalid_argument with the supported names when this CPU cannot run it.
/// Thread safe.
void force_isa(std::string_view name);

}  // namespace regard
