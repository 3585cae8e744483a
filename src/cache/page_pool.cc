// src/cache/page_pool.cc - pages of memory under a budget: counted references, wiped when freed.
#include "cache/page_pool.h"

#include <cstring>

namespace regard::cache {

PagePool::PagePool(std::int64_t bytes, std::int64_t most, std::pmr::memory_resource& memory)
    : bytes_(bytes), most_(most), memory_(memory) {}

PagePool::~PagePool() {
  for (const Page& page : pages_)
    memory_.deallocate(page.data, static_cast<std::size_t>(bytes_), kAlignment);
}

std::int32_t PagePool::take() {
  if (free_.empty()) {
    // Room first, so that nothing is lost when there is no memory, and freeing never needs any.
    if (pages_.size() == pages_.capacity()) pages_.reserve(2 * pages_.size() + 16);
    free_.reserve(pages_.capacity());
    auto* data =
        static_cast<std::byte*>(memory_.allocate(static_cast<std::size_t>(bytes_), kAlignment));
    std::memset(data, 0, static_cast<std::size_t>(bytes_));
    free_.push_back(static_cast<std::int32_t>(pages_.size()));
    pages_.push_back({.data = data});
  }
  const std::int32_t page = free_.back();
  free_.pop_back();
  at(page).references = 1;
  ++used_;
  return page;
}

bool PagePool::drop_reference(std::int32_t page) {
  if (--at(page).references > 0) return false;
  std::memset(data(page), 0, static_cast<std::size_t>(bytes_));
  free_.push_back(page);
  --used_;
  return true;
}

}  // namespace regard::cache
