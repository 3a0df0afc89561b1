// Ctrl-C inside the bodies of a parallel loop that take long.
#pragma once

#include <atomic>

#include "core/parallel.hpp"

namespace fastopt {

// One for a loop; its bodies call it between steps and return when it says so. On the calling
// thread it throws what the poll throws, and from then on tells the other threads to end.
class Pause {
  public:
    bool operator()() {
        try {
            parallel_for(1, 1, [](index_t) {}); // polls, where this thread has a poll
        } catch (...) {
            end();
            throw;
        }
        return ended();
    }
    void end() { over_.store(true, std::memory_order_relaxed); }
    bool ended() const { return over_.load(std::memory_order_relaxed); }

  private:
    std::atomic<bool> over_{false};
};

} // namespace fastopt
