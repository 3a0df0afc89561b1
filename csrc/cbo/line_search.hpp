// Line search for the strong Wolfe conditions (More, Thuente, ACM TOMS 20, 1994), as MINPACK-2's
// dcsrch: the caller evaluates phi at step() and hands value and slope to advance().
#pragma once

#include "core/types.hpp"

namespace fastopt {

class WolfeSearch {
  public:
    WolfeSearch(double f0, double slope0, double first, double longest);

    double step() const { return step_; }
    bool failed() const { return failed_; }
    bool advance(double f, double slope); // true when step() satisfies both conditions

  private:
    struct Trial {
        double step, f, slope;
    };
    void interpolate(const Trial& at);

    static constexpr double decrease = 1e-3, curvature = 0.9, narrow = 0.1;
    double f0_, slope0_, step_, longest_;
    Trial best_, other_; // ends of the interval of uncertainty
    double low_ = 0, high_, width_, width_before_;
    bool bracketed_ = false, failed_ = false, first_stage_ = true;
};

} // namespace fastopt
