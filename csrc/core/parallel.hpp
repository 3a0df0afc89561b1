// A small sleeping thread pool and the one loop that uses it.
//
// Work is cut into blocks whose number depends on the problem, never on the thread count, and
// blocks write to places of their own: results do not depend on how many threads ran. The calling
// thread works too, so loops may nest and many callers may share the pool.
#pragma once

#include <functional>

#include "core/types.hpp"

namespace fastopt {

// Calls body(b) for b = 0 .. n_blocks - 1 on at most `threads` threads (<= 0: default_threads()).
// The first exception of any body cancels the blocks not yet begun and is rethrown here.
void parallel_for(index_t n_blocks, int threads, const std::function<void(index_t)>& body);

// Cores that this process may use, or the environment variable FASTOPT_NUM_THREADS.
int default_threads();

// While alive, `poll` runs now and then on this thread inside its parallel_for loops; what it
// throws cancels the loop (Ctrl-C).
class ScopedPoll {
  public:
    explicit ScopedPoll(std::function<void()> poll);
    ~ScopedPoll();
    ScopedPoll(const ScopedPoll&) = delete;
    ScopedPoll& operator=(const ScopedPoll&) = delete;

  private:
    std::function<void()> poll_;
    const std::function<void()>* outer_;
};

} // namespace fastopt
