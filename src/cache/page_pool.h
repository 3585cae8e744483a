// src/cache/page_pool.h - pages of memory under a budget: counted references, wiped when freed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <vector>

namespace regard::cache {

/// Memory of one page, and how many hold it.
struct Page {
  std::byte* data = nullptr;
  std::int64_t references = 0;
};

/// At most `most` pages of `bytes` each, made when first needed and then kept. A page that is taken
/// holds zeros. Memory comes in slabs of many pages, which the system may back by huge ones: decode
/// reads them a tenth faster.
class PagePool {
 public:
  static constexpr std::size_t kAlignment = 64;

  PagePool(std::int64_t bytes, std::int64_t most, std::pmr::memory_resource& memory);
  ~PagePool();
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;

  std::int64_t bytes() const { return bytes_; }
  std::int64_t most() const { return most_; }
  /// Pages with a reference.
  std::int64_t used() const { return used_; }
  std::int64_t free() const { return most_ - used_; }

  /// A page with one reference; there must be a free one. Throws std::bad_alloc, then nothing has
  /// changed.
  std::int32_t take();
  void add_reference(std::int32_t page) { ++at(page).references; }
  /// True when it was the last: the page is wiped and free.
  bool drop_reference(std::int32_t page);
  std::int64_t references(std::int32_t page) const {
    return pages_[static_cast<std::size_t>(page)].references;
  }
  std::byte* data(std::int32_t page) const { return pages_[static_cast<std::size_t>(page)].data; }

 private:
  struct Slab {
    std::byte* data;
    std::size_t bytes, alignment;
  };

  Page& at(std::int32_t page) { return pages_[static_cast<std::size_t>(page)]; }
  void make_page();
  void add_slab();

  std::int64_t bytes_, most_, used_ = 0;
  std::pmr::memory_resource& memory_;
  std::vector<Slab> slabs_;
  std::int64_t unmade_ = 0;  // pages that the last slab has room for yet
  std::vector<Page> pages_;
  std::vector<std::int32_t> free_;  // of pages_, those without a reference
};

}  // namespace regard::cache
