// src/cache/page_pool.cc - pages of memory under a budget: counted references, wiped when freed.
#include "cache/page_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace regard::cache {

PagePool::PagePool(std::int64_t bytes, std::int64_t most, std::pmr::memory_resource& memory)
    : bytes_(bytes), most_(most), memory_(memory) {}

PagePool::~PagePool() {
  for (const Slab& slab : slabs_) memory_.deallocate(slab.data, slab.bytes, slab.alignment);
}

/// As many pages as there are already, up to 32 MiB, so that little is asked for that is not used.
void PagePool::add_slab() {
  constexpr std::int64_t kMostBytes = 32 << 20;
  constexpr std::size_t kHugePage = 2 << 20;
  const auto made = static_cast<std::int64_t>(pages_.size());
  const std::int64_t pages =
      std::clamp<std::int64_t>(made, 1, std::max<std::int64_t>(kMostBytes / bytes_, 1));
  Slab slab{nullptr, static_cast<std::size_t>(std::min(pages, most_ - made) * bytes_), kAlignment};
  if (slab.bytes >= kHugePage) slab.alignment = kHugePage;
  slabs_.reserve(slabs_.size() + 1);
  slab.data = static_cast<std::byte*>(memory_.allocate(slab.bytes, slab.alignment));
#ifdef MADV_HUGEPAGE
  // Advice: it may be declined, and then pages are small.
  if (slab.alignment == kHugePage) ::madvise(slab.data, slab.bytes, MADV_HUGEPAGE);
#endif
  slabs_.push_back(slab);
  unmade_ = static_cast<std::int64_t>(slab.bytes) / bytes_;
}

void PagePool::make_page() {
  // Room first, so that nothing is lost when there is no memory, and freeing never needs any.
  if (pages_.size() == pages_.capacity()) pages_.reserve(2 * pages_.size() + 16);
  free_.reserve(pages_.capacity());
  if (unmade_ == 0) add_slab();
  std::byte* data = slabs_.back().data + slabs_.back().bytes - unmade_ * bytes_;
  std::memset(data, 0, static_cast<std::size_t>(bytes_));
  --unmade_;
  free_.push_back(static_cast<std::int32_t>(pages_.size()));
  pages_.push_back({.data = data});
}

std::int32_t PagePool::take() {
  if (free_.empty()) make_page();
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
