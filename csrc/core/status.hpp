// Why a solver stopped: one enum, one table of (SciPy's integer code, success, message).
#pragma once

namespace fastopt {

enum class Status {
    running,
    converged,
    agreement,
    f_target,
    sampled,
    maxiter,
    maxfev,
    maxtime,
    stalled,
    not_finite,
    unbounded,
    infeasible,
    stopped_by_callback,
};

int code(Status status); // 0 success, 1 budget, 2 stalled, 3 not finite, 4 infeasible, 99 callback
bool success(Status status);        // true only for converged, agreement, f_target and sampled
const char* message(Status status); // says what happened and what to do next

} // namespace fastopt
