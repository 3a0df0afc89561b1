#include "cbo/line_search.hpp"

#include <algorithm>
#include <cmath>

namespace fastopt {

WolfeSearch::WolfeSearch(double f0, double slope0, double first, double longest)
    : f0_(f0), slope0_(slope0), step_(first), longest_(longest), best_{0, f0, slope0},
      other_{0, f0, slope0}, high_(first + 4 * first), width_(longest), width_before_(2 * longest) {
}

bool WolfeSearch::advance(double f, double slope) {
    const double enough = decrease * slope0_, ceiling = f0_ + step_ * enough;
    if (first_stage_ && f <= ceiling && slope >= 0) first_stage_ = false;
    if (f <= ceiling && std::abs(slope) <= -curvature * slope0_) return true;
    const bool at_edge = bracketed_ && (step_ <= low_ || step_ >= high_);
    const bool too_narrow = bracketed_ && high_ - low_ <= narrow * high_;
    const bool at_longest = step_ == longest_ && f <= ceiling && slope <= enough;
    const bool at_zero = step_ <= 0 || !std::isfinite(slope);
    if (at_edge || too_narrow || at_longest || at_zero) {
        failed_ = !(f < f0_); // any decrease is worth having now
        return !failed_;
    }
    // Until the minimiser of the auxiliary function phi - ceiling is met, search with that
    // function.
    if (first_stage_ && f <= best_.f && f > ceiling) {
        const auto shifted = [&](Trial t, double sign) {
            return Trial{t.step, t.f - sign * t.step * enough, t.slope - sign * enough};
        };
        best_ = shifted(best_, 1), other_ = shifted(other_, 1);
        interpolate(shifted({step_, f, slope}, 1));
        best_ = shifted(best_, -1), other_ = shifted(other_, -1);
    } else {
        interpolate({step_, f, slope});
    }
    if (bracketed_) {
        if (std::abs(other_.step - best_.step) >= 0.66 * width_before_)
            step_ = best_.step + 0.5 * (other_.step - best_.step);
        width_before_ = width_;
        width_ = std::abs(other_.step - best_.step);
        low_ = std::min(best_.step, other_.step);
        high_ = std::max(best_.step, other_.step);
    } else {
        low_ = step_ + 1.1 * (step_ - best_.step);
        high_ = step_ + 4 * (step_ - best_.step);
    }
    step_ = std::min(longest_, std::max(0.0, step_));
    if (bracketed_ && (step_ <= low_ || step_ >= high_ || high_ - low_ <= narrow * high_))
        step_ = best_.step;
    return false;
}

// dcstep: the next step from cubic and quadratic interpolation, and the new interval.
void WolfeSearch::interpolate(const Trial& at) {
    const bool opposite = (at.slope < 0) != (best_.slope < 0);
    const double secant = 3 * (best_.f - at.f) / (at.step - best_.step) + best_.slope + at.slope;
    const double scale = std::max({std::abs(secant), std::abs(best_.slope), std::abs(at.slope)});
    const double under =
        (secant / scale) * (secant / scale) - (best_.slope / scale) * (at.slope / scale);
    double next;
    if (at.f > best_.f) { // higher value: the minimiser is bracketed
        double gamma = scale * std::sqrt(std::max(0.0, under));
        if (at.step < best_.step) gamma = -gamma;
        const double r =
            ((gamma - best_.slope) + secant) / (((gamma - best_.slope) + gamma) + at.slope);
        const double cubic = best_.step + r * (at.step - best_.step);
        const double quadratic =
            best_.step + best_.slope / ((best_.f - at.f) / (at.step - best_.step) + best_.slope) /
                             2 * (at.step - best_.step);
        next = std::abs(cubic - best_.step) < std::abs(quadratic - best_.step)
                   ? cubic
                   : cubic + (quadratic - cubic) / 2;
        bracketed_ = true;
    } else if (opposite) { // lower value, slopes of opposite sign: bracketed
        double gamma = scale * std::sqrt(std::max(0.0, under));
        if (at.step > best_.step) gamma = -gamma;
        const double r =
            ((gamma - at.slope) + secant) / (((gamma - at.slope) + gamma) + best_.slope);
        const double cubic = at.step + r * (best_.step - at.step);
        const double quadratic =
            at.step + at.slope / (at.slope - best_.slope) * (best_.step - at.step);
        next = std::abs(cubic - at.step) > std::abs(quadratic - at.step) ? cubic : quadratic;
        bracketed_ = true;
    } else if (std::abs(at.slope) < std::abs(best_.slope)) { // lower value, flatter
        double gamma = scale * std::sqrt(std::max(0.0, under));
        if (at.step > best_.step) gamma = -gamma;
        const double r =
            ((gamma - at.slope) + secant) / ((gamma + (best_.slope - at.slope)) + gamma);
        const double limit = at.step > best_.step ? high_ : low_;
        const double cubic = r < 0 && gamma != 0 ? at.step + r * (best_.step - at.step) : limit;
        const double quadratic =
            at.step + at.slope / (at.slope - best_.slope) * (best_.step - at.step);
        if (bracketed_) {
            next = std::abs(cubic - at.step) < std::abs(quadratic - at.step) ? cubic : quadratic;
            const double bound = at.step + 0.66 * (other_.step - at.step);
            next = at.step > best_.step ? std::min(bound, next) : std::max(bound, next);
        } else {
            next = std::abs(cubic - at.step) > std::abs(quadratic - at.step) ? cubic : quadratic;
            next = std::min(high_, std::max(low_, next));
        }
    } else if (bracketed_) { // lower value, not flatter
        const double far =
            3 * (at.f - other_.f) / (other_.step - at.step) + other_.slope + at.slope;
        const double s = std::max({std::abs(far), std::abs(other_.slope), std::abs(at.slope)});
        double gamma =
            s *
            std::sqrt(std::max(0.0, (far / s) * (far / s) - (other_.slope / s) * (at.slope / s)));
        if (at.step > other_.step) gamma = -gamma;
        const double r = ((gamma - at.slope) + far) / (((gamma - at.slope) + gamma) + other_.slope);
        next = at.step + r * (other_.step - at.step);
    } else {
        next = at.step > best_.step ? high_ : low_;
    }
    if (at.f > best_.f) {
        other_ = at;
    } else {
        if (opposite) other_ = best_;
        best_ = at;
    }
    step_ = next;
}

} // namespace fastopt
