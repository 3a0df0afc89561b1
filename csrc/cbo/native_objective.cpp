#include "cbo/native_objective.hpp"

#include <algorithm>
#include <chrono>

#include "cbo/cbo_steps.hpp"
#include "core/error.hpp"
#include "core/parallel.hpp"
#include "kernels.hpp"

namespace fastopt {

template <class T>
NativeObjective<T>::NativeObjective(ObjectiveId id, index_t d, const std::vector<double>& shift,
                                    const std::vector<double>& rotation, int threads)
    : id_(id), d_(d), shift_(shift.begin(), shift.end()),
      rotation_(rotation.begin(), rotation.end()), threads_(threads) {
    FASTOPT_REQUIRE(shift.empty() || static_cast<index_t>(shift.size()) == d,
                    "shift must have one value per coordinate");
    FASTOPT_REQUIRE(rotation.empty() || static_cast<index_t>(rotation.size()) == d * d,
                    "rotation must be a d x d matrix");
}

template <class T>
void NativeObjective<T>::evaluate(T* x, index_t n, double* f, double* /*violation*/) {
    const auto& kernels = cbo_kernels<T>();
    const T* shift = shift_.empty() ? nullptr : shift_.data();
    const T* rotation = rotation_.empty() ? nullptr : rotation_.data();
    // A block is about 16384 coordinate terms; a rotation costs d of them per coordinate.
    const index_t work_per_row = d_ * (rotation ? 1 + d_ / 8 : 1);
    const index_t rows = std::max<index_t>(1, 16384 / work_per_row);
    const auto block = [&](index_t b) {
        const index_t r0 = b * rows, count = std::min(rows, n - r0);
        thread_local std::vector<T> scratch;
        scratch.resize(objective_scratch(d_, shift != nullptr, rotation != nullptr));
        kernels.evaluate(id_, x + r0 * d_, count, d_, shift, rotation, scratch.data(), f + r0);
    };
    const index_t n_blocks = (n + rows - 1) / rows;
    if (n_blocks == 1)
        block(0);
    else
        parallel_for(n_blocks, threads_, block);
}

template <class T>
bool NativeObjective<T>::evaluate_resident(const std::shared_ptr<Queue>& queue, const T* x,
                                           index_t n, double* f) {
    if (kernels_on_host()) return false;
    const auto copied = [&](const std::vector<T>& numbers) {
        const Array<T> array(queue, static_cast<index_t>(numbers.size()));
        std::copy(numbers.begin(), numbers.end(), array.mirror());
        array.send();
        return array;
    };
    if (resident_.queue != queue) resident_ = {queue, copied(shift_), copied(rotation_), {}};
    const index_t moved = shift_.empty() && rotation_.empty() ? 0 : checked_product(n, d_);
    if (resident_.scratch.size() < moved) resident_.scratch = Array<T>(queue, moved);
    fastopt::evaluate_resident(*queue, id_, x, n, d_, resident_.shift.data(),
                               resident_.rotation.data(), resident_.scratch.data(), f);
    return true;
}

template <class T>
void CFunctionObjective<T>::evaluate_rows(const T* x, index_t r0, index_t r1, double* f) const {
    thread_local std::vector<double> point;
    for (index_t r = r0; r < r1; ++r) {
        point.assign(x + r * d_, x + (r + 1) * d_);
        const int d = static_cast<int>(d_);
        f[r] = function_.plain ? function_.plain(d, point.data())
                               : function_.with_data(d, point.data(), function_.user_data);
    }
}

template <class T>
void CFunctionObjective<T>::evaluate(T* x, index_t n, double* f, double* /*violation*/) {
    constexpr double worth_waking = 1e-4;  // seconds of work
    constexpr double longest_block = 0.02; // seconds between two looks at Ctrl-C
    constexpr index_t parts = 64;
    const auto seconds = [&](index_t r0, index_t r1) {
        const auto start = std::chrono::steady_clock::now();
        evaluate_rows(x, r0, r1, f);
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    };
    index_t done = 0;
    if (seconds_per_point_ <= 0) // not known yet: one point tells
        seconds_per_point_ = seconds(0, done = 1);
    const index_t left = n - done;
    if (left == 0) return;
    if (seconds_per_point_ * static_cast<double>(left) <= worth_waking) {
        seconds_per_point_ = seconds(done, n) / static_cast<double>(left);
        return;
    }
    const double most = std::max(1.0, longest_block / seconds_per_point_);
    const index_t even = (left + parts - 1) / parts;
    const index_t rows = most < static_cast<double>(even) ? static_cast<index_t>(most) : even;
    parallel_for((left + rows - 1) / rows, threads_, [&](index_t b) {
        evaluate_rows(x, done + b * rows, std::min(done + (b + 1) * rows, n), f);
    });
}

template class NativeObjective<double>;
template class NativeObjective<float>;
template class CFunctionObjective<double>;
template class CFunctionObjective<float>;

} // namespace fastopt
