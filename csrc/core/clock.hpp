// Seconds since a run began, and its time limit, which is over for all ranks when it is for one.
#pragma once

#include <chrono>
#include <limits>

#include "core/communicator.hpp"

namespace fastopt {

class Clock {
  public:
    explicit Clock(double limit = std::numeric_limits<double>::infinity(),
                   Communicator* comm = nullptr)
        : limit_(limit), comm_(comm) {}
    double seconds() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    }
    bool over() const {
        return limit_ < std::numeric_limits<double>::infinity() &&
               any_rank(comm_, seconds() >= limit_);
    }

  private:
    double limit_;
    Communicator* comm_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

} // namespace fastopt
