// The projection on the cones, on the CPU.
#include "admm_relu/cone_projection.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "admm_relu/cone_scratch.hpp"
#include "core/parallel.hpp"

namespace fastopt {
namespace {

constexpr double independent = 1e-9; // sine of the angle of a new row with the active ones
constexpr double cancellation = 0.1; // project twice when v is this much shorter than r

} // namespace

ConeProjector::ConeProjector(index_t n, index_t d, index_t n_gates, const double* x,
                             const double* gates, int threads, const std::vector<double>& radius,
                             std::shared_ptr<Queue> queue, const Sharing& sharing)
    : n_(n), d_(d), p_(n_gates), threads_(threads), steps_(std::move(queue), threads, sharing),
      x_(steps_.queue(), checked_product(n, d)), sign_(checked_product(n_gates, n)), gates_(gates) {
    set_radius(radius);
    double* unit = x_.data();
    for (index_t j = 0; j < n; ++j) {
        const double length = norm2(d, x + j * d);
        if (robust()) inverse_length_.data()[j] = length > 0 ? 1 / length : 1.0;
        for (index_t k = 0; k < d; ++k) unit[j * d + k] = length > 0 ? x[j * d + k] / length : 0.0;
    }
    parallel_for(n_gates, threads, [&](index_t i) {
        for (index_t j = i * n; j < (i + 1) * n; ++j) sign_[j] = 2 * gates[j] - 1;
    });
    first_ = first_sample();
}

double ConeProjector::reach(const double* v) const {
    double sum = 0;
    for (index_t k = 0; k < radius_.size(); ++k) sum += radius_.data()[k] * std::abs(v[k]);
    return sum;
}

// Appends a row (with the signs of v) to the active set; false when it depends on those there.
bool ConeProjector::add(const Candidate& c, const double* v, ActiveSet& s, Scratch& w) const {
    const index_t k = s.size(), d = d_;
    if (k >= d) return false;
    for (index_t i = 0; i < d; ++i) w.row[i] = c.sign * c.unit[i];
    if (robust()) {
        const double *e = radius_.data(), inverse = inverse_length_.data()[c.row];
        for (index_t i = 0; i < d; ++i) w.row[i] -= std::copysign(e[i] * inverse, v[i]);
        const double size = norm2(d, w.row.data());
        if (!(size > 0)) return false;
        for (index_t i = 0; i < d; ++i) w.row[i] /= size;
    }
    s.r.resize(static_cast<std::size_t>((k + 1) * d));
    double* column = s.r.data() + k * d;
    std::fill(column, column + d, 0.0);
    for (int pass = 0; pass < 2 && k > 0; ++pass) { // Gram-Schmidt, twice
        gemv(false, k, d, 1.0, s.q.data(), d, w.row.data(), 0.0, w.c.data());
        gemv(true, k, d, -1.0, s.q.data(), d, w.c.data(), 1.0, w.row.data());
        for (index_t i = 0; i < k; ++i) column[i] += w.c[i];
    }
    const double length = norm2(d, w.row.data());
    if (length < independent) {
        s.r.resize(static_cast<std::size_t>(k * d));
        return false;
    }
    column[k] = length;
    s.rows.push_back(c.row);
    s.mu.push_back(0);
    s.q.resize(static_cast<std::size_t>((k + 1) * d));
    for (index_t i = 0; i < d; ++i) s.q[k * d + i] = w.row[i] / length;
    return true;
}

// Deletes active row k: Givens rotations make R triangular again.
void ConeProjector::remove(index_t k, ActiveSet& s) const {
    const index_t size = s.size(), d = d_;
    double* r = s.r.data();
    std::copy(r + (k + 1) * d, r + size * d, r + k * d);
    for (index_t j = k; j + 1 < size; ++j) { // rows j, j + 1 of R; basis vectors j, j + 1
        const double a = r[j * d + j], b = r[j * d + j + 1], h = std::hypot(a, b);
        const double cosine = a / h, sine = b / h;
        for (index_t col = j; col + 1 < size; ++col) {
            const double x = r[col * d + j], y = r[col * d + j + 1];
            r[col * d + j] = cosine * x + sine * y;
            r[col * d + j + 1] = cosine * y - sine * x;
        }
        double* FASTOPT_RESTRICT q0 = s.q.data() + j * d;
        double* FASTOPT_RESTRICT q1 = q0 + d;
        for (index_t i = 0; i < d; ++i) {
            const double x = q0[i], y = q1[i];
            q0[i] = cosine * x + sine * y;
            q1[i] = cosine * y - sine * x;
        }
    }
    s.rows.erase(s.rows.begin() + k);
    s.mu.erase(s.mu.begin() + k);
    s.q.resize(static_cast<std::size_t>((size - 1) * d));
    s.r.resize(static_cast<std::size_t>((size - 1) * d));
}

// v = r + N_S' mu for the best mu >= 0 whose support lies in S: the inner loop of Lawson-Hanson.
void ConeProjector::warm(const double* r, ActiveSet& s, double* v, Scratch& w) const {
    const index_t d = d_;
    for (;;) {
        const index_t k = s.size();
        std::copy(r, r + d, v);
        if (k == 0) return;
        gemv(false, k, d, 1.0, s.q.data(), d, r, 0.0, w.c.data());
        gemv(true, k, d, -1.0, s.q.data(), d, w.c.data(), 1.0, v);
        for (index_t j = k - 1; j >= 0; --j) w.mu[j] = -w.c[j];
        for (index_t j = k - 1; j >= 0; --j) { // R mu = -Q r, by columns
            const double* column = s.r.data() + j * d;
            w.mu[j] /= column[j];
            for (index_t i = 0; i < j; ++i) w.mu[i] -= column[i] * w.mu[j];
        }
        double alpha = 1;
        index_t leaving = -1;
        for (index_t j = 0; j < k; ++j) {
            if (w.mu[j] > 0) continue;
            const double step = s.mu[j] / (s.mu[j] - w.mu[j]);
            if (leaving < 0 || !(step >= alpha)) alpha = step, leaving = j;
        }
        if (leaving < 0) {
            std::copy(w.mu.begin(), w.mu.begin() + k, s.mu.begin());
            if (norm2(d, v) < cancellation * norm2(d, r)) {
                gemv(false, k, d, 1.0, s.q.data(), d, v, 0.0, w.c.data());
                gemv(true, k, d, -1.0, s.q.data(), d, w.c.data(), 1.0, v);
            }
            return;
        }
        if (!(alpha >= 0)) alpha = 0;
        for (index_t j = 0; j < k; ++j)
            s.mu[j] = std::max(0.0, s.mu[j] + alpha * (w.mu[j] - s.mu[j]));
        s.mu[leaving] = 0;
        remove(leaving, s);
    }
}

// The worst violated rows of one block, at most max(2 d, 24), worst first.
index_t ConeProjector::collect(index_t gate, const double* xv, double h, double tolerance,
                               Scratch& w) const {
    const double* sign = sign_.data() + gate * n_;
    w.violated.clear();
    for (index_t j0 = 0; j0 < n_; j0 += 64) { // a quick look at 64 rows, then at each
        const index_t j1 = std::min(n_, j0 + 64);
        int any = 0;
        for (index_t j = j0; j < j1; ++j) any |= slack(sign[j], j, xv[j], h) < -tolerance;
        if (!any) continue;
        for (index_t j = j0; j < j1; ++j) {
            const double value = slack(sign[j], j, xv[j], h);
            if (value < -tolerance) w.violated.emplace_back(value, j);
        }
    }
    const auto found = static_cast<index_t>(w.violated.size());
    const auto keep = std::min(found, most_candidates(d_));
    std::partial_sort(w.violated.begin(), w.violated.begin() + keep, w.violated.end());
    w.candidates.clear();
    for (index_t k = 0; k < keep; ++k) {
        const index_t j = w.violated[k].second;
        w.candidates.push_back({sign[j], x_.data() + j * d_, j});
    }
    return found;
}

// From a v that violates rows (xv = X v) to the projection.
void ConeProjector::refine(index_t gate, const double* r, ActiveSet& s, double* v, double* xv,
                           Scratch& w, Pause& pause) const {
    const double tolerance = feasibility * norm2(d_, r);
    for (index_t left = budget();;) {
        const index_t found = collect(gate, xv, reach(v), tolerance, w);
        if (found == 0 || !absorb(r, s, v, found, left, w, pause)) return;
        gemv(false, n_, d_, 1.0, x_.data(), d_, v, 0.0, xv);
    }
}

// Takes violated candidates into the active set, the worst first, until none is left. `budget`:
// additions; Lawson-Hanson ends by itself but for rounding. False where that is the end.
bool ConeProjector::absorb(const double* r, ActiveSet& s, double* v, index_t found, index_t& budget,
                           Scratch& w, Pause& pause) const {
    const index_t d = d_;
    const double tolerance = feasibility * norm2(d, r);
    bool changed = false;
    while (budget > 0) {
        if (pause()) return false;
        double worst = -tolerance;
        const double h = reach(v);
        index_t entering = -1;
        for (std::size_t k = 0; k < w.candidates.size(); ++k) {
            const double value = slack(w.candidates[k], v, h);
            if (value < worst) worst = value, entering = static_cast<index_t>(k);
        }
        if (entering < 0) break;
        const Candidate chosen = w.candidates[entering];
        const index_t before = s.size();
        if (!add(chosen, v, s, w)) { // dependent: satisfied with the others, up to rounding
            w.candidates.erase(w.candidates.begin() + entering);
            continue;
        }
        --budget;
        changed = true;
        index_t more = d >= 60 ? std::min(found / 4, (d - before) / 2) - 1 : 0;
        for (std::size_t k = 0; more > 0 && k < w.candidates.size(); ++k) {
            const Candidate& other = w.candidates[k];
            if (other.row == chosen.row || slack(other, v, h) >= -tolerance) continue;
            if (std::find(s.rows.begin(), s.rows.end(), other.row) == s.rows.end() &&
                add(other, v, s, w))
                --more;
        }
        warm(r, s, v, w);
    }
    return changed && budget > 0;
}

void ConeProjector::project(index_t count, const double* r, double level, ActiveSets& sets,
                            double* v, double* norm) {
    if (steps_.sharing().samples) return project_shared(count, r, level, sets, v, norm);
    const index_t d = d_, n = n_;
    Pause pause;
    parallel_for((count + group - 1) / group, threads_, [&](index_t b) {
        static thread_local Scratch w;
        w.fit(n, d);
        index_t open[group], m = 0;
        for (index_t k = b * group; k < std::min(count, (b + 1) * group); ++k) {
            double* vk = v + k * d;
            warm(r + k * d, sets[k], vk, w);
            norm[k] = norm2(d, vk); // >= ||Proj_K||, as mu >= 0
            if (norm[k] <= level) {
                std::fill(vk, vk + d, 0.0);
                norm[k] = 0;
                continue;
            }
            std::copy(vk, vk + d, w.block.begin() + m * d);
            open[m++] = k;
        }
        if (m == 0) return;
        gemm(false, true, m, n, d, 1.0, w.block.data(), d, x_.data(), d, 0.0, w.xv.data(), n);
        for (index_t i = 0; i < m; ++i) {
            const index_t k = open[i];
            double* vk = v + k * d;
            refine(k % p_, r + k * d, sets[k], vk, w.xv.data() + i * n, w, pause);
            if (pause.ended()) return;
            norm[k] = norm2(d, vk);
            if (norm[k] <= std::max(level, nothing * norm2(d, r + k * d))) {
                std::fill(vk, vk + d, 0.0);
                norm[k] = 0;
            }
        }
    });
}

std::vector<double> ConeProjector::face_basis(const ActiveSet& set) const {
    const index_t d = d_, k = set.size();
    std::vector<double> basis(set.q), out, e(static_cast<std::size_t>(d)), c(e.size());
    basis.resize(static_cast<std::size_t>(d * d));
    std::vector<double> left(static_cast<std::size_t>(d),
                             1.0); // squared distance of e_i to the span
    for (index_t j = 0; j < k; ++j)
        for (index_t i = 0; i < d; ++i) left[i] -= basis[j * d + i] * basis[j * d + i];
    for (index_t m = k; m < d; ++m) {
        const auto i = std::max_element(left.begin(), left.end()) - left.begin();
        std::fill(e.begin(), e.end(), 0.0);
        e[i] = 1;
        for (int pass = 0; pass < 2 && m > 0; ++pass) {
            gemv(false, m, d, 1.0, basis.data(), d, e.data(), 0.0, c.data());
            gemv(true, m, d, -1.0, basis.data(), d, c.data(), 1.0, e.data());
        }
        const double length = norm2(d, e.data());
        for (index_t l = 0; l < d; ++l) {
            const double q = e[l] / length;
            basis[m * d + l] = q;
            left[l] -= q * q;
            out.push_back(q);
        }
        left[i] = -1;
    }
    return out;
}

double ConeProjector::worst_violation(index_t count, const double* v) {
    std::vector<double> worst(static_cast<std::size_t>(count));
    parallel_for(count, threads_, [&](index_t b) { worst[b] = violation(b % p_, v + b * d_); });
    return *std::max_element(worst.begin(), worst.end());
}

double ConeProjector::violation(index_t gate, const double* v) const {
    const double length = norm2(d_, v);
    if (!(length > 0)) return 0;
    const double* sign = sign_.data() + gate * n_;
    const double h = reach(v);
    double worst = 0;
    for (index_t j = 0; j < n_; ++j)
        worst = std::max(worst, -slack(sign[j], j, dot(d_, x_.data() + j * d_, v), h));
    return worst / length;
}

} // namespace fastopt
