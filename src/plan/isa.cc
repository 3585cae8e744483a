// src/plan/isa.cc - which kernel table new plans use.
#include "plan/isa.h"

#include <atomic>
#include <stdexcept>

#include "regard/isa.h"

namespace regard {
namespace {

std::atomic<const kernels::KernelTable*> forced_table{nullptr};

}  // namespace

namespace plan {

const kernels::KernelTable& active_table() {
  const kernels::KernelTable* forced = forced_table.load();
  return forced != nullptr ? *forced : *kernels::supported_tables().front();
}

}  // namespace plan

std::vector<std::string> supported_isas() {
  std::vector<std::string> names;
  for (const kernels::KernelTable* table : kernels::supported_tables())
    names.emplace_back(table->isa);
  return names;
}

std::string active_isa() { return plan::active_table().isa; }

void force_isa(std::string_view name) {
  if (name.empty()) return forced_table.store(nullptr);
  std::string supported;
  for (const kernels::KernelTable* table : kernels::supported_tables()) {
    if (name == table->isa) return forced_table.store(table);
    supported += std::string(supported.empty() ? "" : ", ") + table->isa;
  }
  throw std::invalid_argument("force_isa: name is \"" + std::string(name) + "\", expected one of " +
                              supported);
}

}  // namespace regard
