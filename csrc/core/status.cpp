#include "core/status.hpp"

namespace fastopt {
namespace {

struct Row {
    Status status;
    int code;
    bool success;
    const char* message;
};

constexpr Row table[] = {
    {Status::running, -1, false, "The solver is still running."},
    {Status::converged, 0, true, "Optimization terminated successfully: the particles agree within tol."},
    {Status::agreement, 0, true,
     "Optimization terminated successfully: independent restarts agree on the best value."},
    {Status::f_target, 0, true, "Optimization terminated successfully: f_target was reached."},
    {Status::sampled, 0, true, "Sampling completed: maxiter iterations were done."},
    {Status::maxiter, 1, false,
     "Maximum number of iterations has been exceeded. Raise maxiter, or set tol or f_target."},
    {Status::maxfev, 1, false,
     "Maximum number of function evaluations has been exceeded. Raise maxfev, or set f_target."},
    {Status::maxtime, 1, false, "The time limit maxtime was reached. Raise it, or set f_target."},
    {Status::stalled, 2, false,
     "The particles stopped moving before tol was met. Raise diffusion or n_particles, or use "
     "dynamics='hybrid'."},
    {Status::not_finite, 3, false,
     "The objective returned no finite value. Check the objective and the bounds."},
    {Status::unbounded, 3, false,
     "The objective returned -inf: the problem is unbounded below. Check the objective."},
    {Status::infeasible, 4, false,
     "No point that satisfies the constraints was found. Check that they are consistent with the "
     "bounds, or raise maxfev or constraint_tol."},
    {Status::stopped_by_callback, 99, false, "`callback` raised `StopIteration`."},
};

const Row& row(Status status) {
    for (const Row& r : table)
        if (r.status == status) return r;
    return table[0];
}

} // namespace

int code(Status status) { return row(status).code; }
bool success(Status status) { return row(status).success; }
const char* message(Status status) { return row(status).message; }

} // namespace fastopt
