// Seconds since a run began, and its time limit.
#pragma once

#include <chrono>
#include <limits>

namespace fastopt {

class Clock {
  public:
    explicit Clock(double limit = std::numeric_limits<double>::infinity()) : limit_(limit) {}
    double seconds() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }
    bool over() const {
        return limit_ < std::numeric_limits<double>::infinity() && seconds() >= limit_;
    }

  private:
    double limit_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

} // namespace fastopt
