#include "cbo/ensemble.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.hpp"
#include "core/parallel.hpp"
#include "core/random.hpp"
#include "kernels.hpp"

namespace fastopt {
namespace {

// Streams of random numbers within an iteration; `moves` takes two.
enum Stream : std::uint32_t {
    positions,
    permutations,
    batches,
    moves,
    kicks = moves + 2,
    clusters
};

constexpr index_t block_coordinates = 16384; // the size of a block of work, in coordinates
constexpr index_t block_least_rows = 64;     // keeps the partial sums small beside the particles
constexpr index_t patience = 100;            // iterations without a change of consensus
constexpr double least_share = 0.1; // of a particle's largest membership: less counts as none

double value_or(double value, double otherwise) { return std::isnan(value) ? otherwise : value; }

bool better(double v, double f, double best_v, double best_f) { // feasible first, then lower
    return v < best_v || (v == best_v && f < best_f);
}

// Fisher-Yates.
void shuffle(std::vector<index_t>& order, const Draw& draw, std::vector<std::uint32_t>& words) {
    const index_t n = static_cast<index_t>(order.size());
    words.resize(order.size());
    fill_words(words.data(), 0, n, draw);
    for (index_t i = n - 1; i > 0; --i)
        std::swap(order[i], order[scale_word(words[i], static_cast<std::uint32_t>(i + 1))]);
}

// Defaults of the dynamics, found by experiment on shifted and rotated sphere, Rastrigin, Ackley
// and Rosenbrock functions in 2, 5 and 20 dimensions with max(100, 10 d) particles and 1000
// iterations. What counts is E log |1 - drift + diffusion xi|, the rate at which a coordinate
// approaches the consensus. Isotropic noise adds diffusion^2 d |D|^2 to the squared distance, of
// which the drift takes drift (2 - drift) |D|^2.
double default_drift(const CboOptions& o) {
    if (o.dynamics == Dynamics::sampling) return o.samples ? 0.1 : 2.0;
    return o.noise == Noise::anisotropic ? 0.1 : 1.0;
}
double default_diffusion(const CboOptions& o, double drift, index_t d) {
    if (o.dynamics == Dynamics::hopping) return 0.2; // of the box
    if (o.noise == Noise::isotropic)
        return std::sqrt(std::max(0.0, drift * (2.0 - drift)) / static_cast<double>(d));
    if (o.noise == Noise::covariance || o.dynamics == Dynamics::memory) return 1.2;
    return o.dynamics == Dynamics::polarized ? 0.7 : 1.0;
}
double default_diffusion_factor(const CboOptions& o) { // hopping converges by shorter hops only
    return o.dynamics == Dynamics::hopping && std::isnan(o.diffusion) ? 0.98 : 1.0;
}
double default_ess(const CboOptions& o) {
    if (o.dynamics == Dynamics::sampling) return 0.4;
    return o.dynamics == Dynamics::hopping || o.noise == Noise::covariance ? 0.2 : 0.1;
}

} // namespace

template <class T>
Ensemble<T>::Ensemble(const CboProblem<T>& problem, const CboOptions& options)
    : problem_(problem), options_(options), kernels_(cbo_kernels<T>()), n_(options.n_particles),
      d_(problem.dim()), x_(checked_product(n_, d_)), f_(n_), e_(n_), w_(n_) {
    block_rows_ = std::max(block_least_rows, block_coordinates / d_);
    const index_t n_blocks = (n_ + block_rows_ - 1) / block_rows_;
    partial_ = Buffer<double>(checked_product(n_blocks, d_ + 1));
    for (index_t k = 0; k < d_; ++k) {
        const double range = problem.upper[k] - problem.lower[k];
        lower_.push_back(round_up<T>(problem.lower[k]));
        upper_.push_back(round_down<T>(problem.upper[k]));
        width_.push_back(static_cast<T>(std::isfinite(range) ? range : 1.0));
        const double kernel = options.kernel_width * static_cast<double>(width_[k]);
        inverse_kernel_.push_back(kernel > 0 ? static_cast<T>(1.0 / kernel) : T(0));
    }
    integral_ =
        std::any_of(problem.integer.begin(), problem.integer.end(), [](char i) { return i; });

    const bool sampling = options.dynamics == Dynamics::sampling;
    drift_ = value_or(options.drift, default_drift(options));
    diffusion_ = value_or(options.diffusion, default_diffusion(options, drift_, d_));
    diffusion_factor_ = value_or(options.diffusion_factor, default_diffusion_factor(options));
    ess_ = value_or(options.ess, default_ess(options));
    memory_drift_ = value_or(options.memory_drift, drift_);
    memory_diffusion_ = value_or(options.memory_diffusion, 0.0);
    alpha_ = options.alpha < 0 ? 1.0 : options.alpha;

    const bool gathers = options.batch_size > 0 || integral_ || problem.gradient != nullptr ||
                         !problem.objective->preserves_points();
    if (gathers) scratch_ = Buffer<T>(n_ * d_);
    if (problem.gradient) gradient_ = Buffer<T>(n_ * d_);
    if (options.dynamics == Dynamics::memory)
        y_ = Buffer<T>(n_ * d_), y_f_ = Buffer<double>(n_), y_v_ = Buffer<double>(n_);
    if (problem.objective->constrained()) v_ = Buffer<double>(n_);
    if (options.dynamics == Dynamics::polarized) {
        centers_ = Buffer<T>(n_ * d_);
        const index_t m = options.n_minimizers;
        const index_t per_row = m > 0 ? m : n_blocks;
        responsibility_ = Buffer<double>(checked_product(n_, per_row));
        if (m > 0) clusters_ = Buffer<double>(checked_product(m, d_));
    }
    if (options.noise == Noise::covariance || sampling)
        factor_ = Buffer<T>(checked_product(d_, d_));
    if (options.batch_size > 0) {
        batch_.resize(n_);
        std::iota(batch_.begin(), batch_.end(), index_t{0});
        batch_at_ = n_; // the first iteration shuffles
        chunk_.resize(options.batch_size);
    }
    c_.assign(d_, 0.0), c_t_.assign(d_, T(0)), best_x_.assign(d_, unset);
}

template <class T> template <class F> void Ensemble<T>::for_rows(index_t rows, F f) const {
    const index_t n_blocks = (rows + block_rows_ - 1) / block_rows_;
    if (n_blocks == 1) return f(index_t{0}, index_t{0}, rows);
    parallel_for(n_blocks, options_.threads,
                 [&](index_t b) { f(b, b * block_rows_, std::min((b + 1) * block_rows_, rows)); });
}

template <class T> void Ensemble<T>::initialise() {
    if (problem_.init) {
        std::copy(problem_.init, problem_.init + n_ * d_, x_.data());
    } else {
        std::vector<index_t> stratum(n_);
        std::vector<std::uint32_t> words;
        std::vector<double> u(n_);
        for (index_t k = 0; k < d_; ++k) {
            const std::uint64_t column = static_cast<std::uint64_t>(k);
            fill_uniform(u.data(), 0, n_, {options_.key, column, positions});
            if (!problem_.random_init) {
                std::iota(stratum.begin(), stratum.end(), index_t{0});
                shuffle(stratum, {options_.key, column, permutations}, words);
                for (index_t i = 0; i < n_; ++i)
                    u[i] = (static_cast<double>(stratum[i]) + u[i]) / static_cast<double>(n_);
            }
            const double lo = problem_.lower[k], range = problem_.upper[k] - lo;
            for (index_t i = 0; i < n_; ++i) x_[i * d_ + k] = static_cast<T>(lo + range * u[i]);
        }
    }
    for (index_t k = 0; k < static_cast<index_t>(problem_.x0.size()); ++k)
        x_[k] = static_cast<T>(problem_.x0[k]);
    for (index_t i = 0; i < n_; ++i)
        for (index_t k = 0; k < d_; ++k)
            x_[i * d_ + k] = std::min(std::max(x_[i * d_ + k], lower_[k]), upper_[k]);
    std::fill(f_.data(), f_.data() + n_, no_limit);
    if (v_.size()) std::fill(v_.data(), v_.data() + n_, no_limit);
    if (y_.size()) {
        std::copy(x_.data(), x_.data() + n_ * d_, y_.data());
        std::fill(y_f_.data(), y_f_.data() + n_, no_limit);
        std::fill(y_v_.data(), y_v_.data() + n_, no_limit);
    }
    if (clusters_.size()) first_clusters();
}

// The first consensus points: a random particle, then each time the one farthest from those chosen.
template <class T> void Ensemble<T>::first_clusters() {
    std::uint32_t word;
    fill_words(&word, 0, 1, {options_.key, 0, clusters});
    index_t next = scale_word(word, static_cast<std::uint32_t>(n_));
    std::vector<double> nearest(n_, no_limit);
    for (index_t m = 0; m < options_.n_minimizers; ++m) {
        for (index_t k = 0; k < d_; ++k)
            clusters_[m * d_ + k] = static_cast<double>(x_[next * d_ + k]);
        for (index_t i = 0; i < n_; ++i) {
            double distance = 0;
            for (index_t k = 0; k < d_; ++k) {
                const double t =
                    static_cast<double>((x_[i * d_ + k] - x_[next * d_ + k]) * inverse_kernel_[k]);
                distance += t * t;
            }
            nearest[i] = std::min(nearest[i], distance);
        }
        next = std::max_element(nearest.begin(), nearest.end()) - nearest.begin();
    }
}

template <class T> const index_t* Ensemble<T>::batch_rows() const {
    return batch_.empty() ? nullptr : chunk_.data();
}

// The next batch of a random permutation; a new permutation when it is used up.
template <class T> void Ensemble<T>::next_batch() {
    if (batch_.empty()) return;
    if (batch_at_ + options_.batch_size > n_) {
        std::vector<std::uint32_t> words;
        shuffle(batch_, {options_.key, static_cast<std::uint64_t>(epoch_++), batches}, words);
        batch_at_ = 0;
    }
    std::copy_n(batch_.begin() + batch_at_, options_.batch_size, chunk_.begin());
    batch_at_ += options_.batch_size;
}

template <class T> void Ensemble<T>::evaluate() {
    next_batch();
    const index_t n = n_batch();
    const index_t* rows = batch_rows();
    T* points = x_.data();
    if (scratch_.size()) {
        points = scratch_.data();
        for (index_t r = 0; r < n; ++r)
            std::copy_n(x_.data() + (rows ? rows[r] : r) * d_, d_, points + r * d_);
        if (integral_)
            for (index_t k = 0; k < d_; ++k)
                if (problem_.integer[k]) {
                    const T lo = std::ceil(lower_[k]), hi = std::floor(upper_[k]);
                    for (index_t r = 0; r < n; ++r)
                        points[r * d_ + k] =
                            std::min(std::max(std::nearbyint(points[r * d_ + k]), lo), hi);
                }
    }
    double* f = rows ? e_.data() : f_.data(); // a batch's values pass through e
    double* v = !v_.size() ? nullptr : (rows ? w_.data() : v_.data());
    problem_.objective->evaluate(points, n, f, v);
    nfev_ += n;

    index_t best = -1;
    for (index_t r = 0; r < n; ++r) {
        if (std::isnan(f[r])) f[r] = no_limit;
        if (v && std::isnan(v[r])) v[r] = no_limit;
        const double violation = v ? v[r] : 0.0;
        if (!better(violation, f[r], best_v_, best_f_)) continue;
        best_v_ = violation, best_f_ = f[r], best = r;
    }
    if (best >= 0) { // the objective may have overwritten its points: take the particle's own
        const T* x = x_.data() + (rows ? rows[best] : best) * d_;
        for (index_t k = 0; k < d_; ++k) {
            best_x_[k] = static_cast<double>(x[k]);
            if (integral_ && problem_.integer[k])
                best_x_[k] =
                    std::min(std::max(std::nearbyint(best_x_[k]), std::ceil(problem_.lower[k])),
                             std::floor(problem_.upper[k]));
        }
    }
    if (!rows) return;
    for (index_t r = 0; r < n; ++r) {
        f_[rows[r]] = f[r];
        if (v) v_[rows[r]] = v[r];
    }
}

// e = f + penalty * violation.
template <class T>
void Ensemble<T>::energies(const double* f, const double* v, index_t n, double* e) const {
    const index_t* rows = batch_rows();
    for (index_t r = 0; r < n; ++r) {
        const index_t i = rows ? rows[r] : r;
        e[r] = v && v[i] > 0 ? f[i] + penalty_ * v[i] : f[i];
        if (std::isnan(e[r])) e[r] = no_limit;
    }
}

// y_i <- x_i where better, at the penalty now in force.
template <class T> void Ensemble<T>::remember_bests() {
    const index_t* rows = batch_rows();
    for (index_t r = 0; r < n_batch(); ++r) {
        const index_t i = rows ? rows[r] : r;
        const double now = f_[i] + (v_.size() && v_[i] > 0 ? penalty_ * v_[i] : 0.0);
        const double then = y_f_[i] + (v_.size() && y_v_[i] > 0 ? penalty_ * y_v_[i] : 0.0);
        if (!(now < then) && y_f_[i] < no_limit) continue;
        std::copy_n(x_.data() + i * d_, d_, y_.data() + i * d_);
        y_f_[i] = f_[i];
        if (v_.size()) y_v_[i] = v_[i];
    }
}

// Borghi, Herty, Pareschi (2023), algorithm 1: the penalty grows while the weighted violation at
// the consensus exceeds a tolerance; otherwise the tolerance shrinks.
template <class T> void Ensemble<T>::update_penalty() {
    if (!v_.size()) return;
    constexpr double grow = 1.1, shrink = 0.9;
    const index_t* rows = batch_rows();
    const index_t n = n_batch();
    double f_sum = 0, f_square = 0, v_sum = 0, count = 0, w_sum = 0, wv_sum = 0;
    for (index_t r = 0; r < n; ++r) {
        const index_t i = rows ? rows[r] : r;
        if (!(f_[i] < no_limit) || !(v_[i] < no_limit)) continue;
        f_sum += f_[i], f_square += f_[i] * f_[i], v_sum += v_[i], count += 1;
        w_sum += w_[r], wv_sum += w_[r] * v_[i];
    }
    if (count == 0 || v_sum == 0) return;
    if (penalty_ == 0) { // equal say for values and violations to begin with
        const double mean = f_sum / count;
        const double deviation = std::sqrt(std::max(f_square / count - mean * mean, 0.0));
        penalty_ = deviation > 0 ? deviation / (v_sum / count) : 1.0;
        tolerance_ = v_sum / count;
        return;
    }
    if (w_sum > 0 && wv_sum / w_sum > tolerance_)
        penalty_ *= grow;
    else
        tolerance_ *= shrink;
}

// alpha such that (sum w)^2 / sum w^2 = ess n, by bisection from the last one: scale-free in f.
template <class T> double Ensemble<T>::choose_alpha(index_t n) {
    const double target = ess_ * static_cast<double>(n);
    const auto size = [&](double alpha) {
        double sums[2];
        kernels_.gibbs_sums(e_.data(), n, alpha, energy_min_, sums);
        return sums[0] * sums[0] / sums[1];
    };
    double lo = alpha_, hi = alpha_; // size(lo) >= target >= size(hi)
    constexpr double smallest = 1e-290, largest = 1e290;
    for (double step = 2; lo > smallest && size(lo) < target; step *= step) lo /= step;
    for (double step = 2; hi < largest && size(hi) > target; step *= step) hi *= step;
    lo = std::max(lo, smallest), hi = std::min(hi, largest);
    while (hi > 1.001 * lo) {
        const double middle = std::sqrt(lo) * std::sqrt(hi);
        (size(middle) > target ? lo : hi) = middle;
    }
    return lo;
}

template <class T>
void Ensemble<T>::weighted_mean(const T* x, const index_t* rows, index_t n, const double* w,
                                double* c) {
    const index_t n_blocks = (n + block_rows_ - 1) / block_rows_;
    double* partial = partial_.data();
    std::fill(partial, partial + n_blocks * (d_ + 1), 0.0);
    for_rows(n, [&](index_t b, index_t r0, index_t r1) {
        kernels_.weighted_sum(w, x, rows, d_, r0, r1, partial + b * (d_ + 1));
    });
    for (index_t b = 1; b < n_blocks; ++b)
        for (index_t k = 0; k <= d_; ++k) partial[k] += partial[b * (d_ + 1) + k];
    for (index_t k = 0; k < d_; ++k) c[k] = partial[1 + k] / partial[0];
}

template <class T> void Ensemble<T>::consensus(index_t k) {
    const index_t n = n_batch();
    const bool memory = y_.size() > 0;
    if (memory) remember_bests();
    const T* x = memory ? y_.data() : x_.data();
    energies(memory ? y_f_.data() : f_.data(),
             !v_.size() ? nullptr : (memory ? y_v_.data() : v_.data()), n, e_.data());

    energy_min_ = *std::min_element(e_.data(), e_.data() + n);
    if (!std::isfinite(energy_min_)) return;
    double sum = 0, square = 0;
    for (index_t r = 0; r < n; ++r) {
        const double above = e_[r] - energy_min_;
        sum += above, square += above * above;
    }
    const double mean = sum / static_cast<double>(n);
    spread_ = std::isfinite(square)
                  ? std::sqrt(std::max(square / static_cast<double>(n) - mean * mean, 0.0))
                  : no_limit;
    mean_ = energy_min_ + mean;

    if (!options_.alpha_schedule.empty())
        alpha_ = options_.alpha_schedule[std::min<std::size_t>(static_cast<std::size_t>(k),
                                                               options_.alpha_schedule.size() - 1)];
    else if (options_.alpha < 0)
        alpha_ = choose_alpha(n);
    kernels_.gibbs(e_.data(), n, alpha_, energy_min_, w_.data());

    c_before_ = c_;
    weighted_mean(x, batch_rows(), n, w_.data(), c_.data());
    still_ = c_ == c_before_ ? still_ + 1 : 0;
    std::transform(c_.begin(), c_.end(), c_t_.begin(), [](double c) { return static_cast<T>(c); });
    update_penalty();
    if (options_.dynamics == Dynamics::polarized)
        clusters_.size() ? clustered_consensus(x) : polarised_consensus(x);
}

// The consensus has not changed for many iterations and every particle sits on it: nothing will
// ever move again. (At a large alpha the consensus is the best particle and may rest for long,
// while the others still search.)
template <class T> bool Ensemble<T>::stands_still() const {
    if (still_ < patience || !batch_.empty() || options_.dynamics == Dynamics::polarized)
        return false;
    const T unit = 4 * std::numeric_limits<T>::epsilon();
    for (index_t i = 0; i < n_; ++i)
        for (index_t k = 0; k < d_; ++k)
            if (std::fabs(x_[i * d_ + k] - c_t_[k]) > unit * std::fabs(c_t_[k])) return false;
    return true;
}

// c_i for every particle; O(N^2 d).
template <class T> void Ensemble<T>::polarised_consensus(const T* x) {
    const double alpha = std::min(alpha_, 1e150);
    for_rows(n_, [&](index_t b, index_t r0, index_t r1) {
        kernels_.polarize(x, e_.data(), n_, d_, alpha, energy_min_, inverse_kernel_.data(), r0, r1,
                          responsibility_.data() + b * n_, centers_.data());
    });
}

// M consensus points c_m = sum_i p_im w_i x_i / sum_i p_im w_i with memberships p, each particle
// drifting to c_i = sum_m p_im c_m; O(N M d).
template <class T> void Ensemble<T>::clustered_consensus(const T* x) {
    const index_t m = options_.n_minimizers;
    std::vector<T> points(clusters_.data(), clusters_.data() + m * d_);
    std::vector<double> w(n_);
    double* p = responsibility_.data();
    for_rows(n_, [&](index_t, index_t r0, index_t r1) {
        kernels_.responsibility(x, points.data(), m, d_, inverse_kernel_.data(), r0, r1, p);
        for (index_t i = r0; i < r1; ++i) {
            double* row = p + i * m;
            const double least = least_share * *std::max_element(row, row + m);
            double total = 0;
            for (index_t q = 0; q < m; ++q) total += row[q] = row[q] >= least ? row[q] : 0.0;
            for (index_t q = 0; q < m; ++q) row[q] /= total;
        }
    });
    for (index_t q = 0; q < m; ++q) {
        // Energies are shifted within the cluster: a poor basin's weights do not vanish.
        double least = no_limit, total = 0;
        for (index_t i = 0; i < n_; ++i)
            if (p[i * m + q] > 0) least = std::min(least, e_[i]);
        if (!(least < no_limit)) continue; // an empty cluster keeps its point
        kernels_.gibbs(e_.data(), n_, alpha_, least, w.data());
        for (index_t i = 0; i < n_; ++i) { // a better particle elsewhere has weight inf here
            w[i] = p[i * m + q] > 0 ? w[i] * p[i * m + q] : 0.0;
            total += w[i];
        }
        if (total > 0) weighted_mean(x, nullptr, n_, w.data(), clusters_.data() + q * d_);
    }
    for (index_t i = 0; i < n_; ++i)
        for (index_t k = 0; k < d_; ++k) {
            double c = 0;
            for (index_t q = 0; q < m; ++q) c += p[i * m + q] * clusters_[q * d_ + k];
            centers_[i * d_ + k] = static_cast<T>(c);
        }
}

template <class T> void Ensemble<T>::move(index_t k) {
    const std::uint64_t iteration = static_cast<std::uint64_t>(k);
    Move<T> m;
    m.d = d_;
    m.x = x_.data();
    m.center = centers_.size() ? centers_.data() : c_t_.data();
    m.center_stride = centers_.size() ? d_ : 0;
    m.best = y_.size() ? y_.data() : nullptr;
    m.rows = options_.batch_full ? nullptr : batch_rows();
    m.drift = static_cast<T>(drift_);
    m.diffusion = static_cast<T>(diffusion_);
    m.truncation = static_cast<T>(options_.truncation);
    m.memory_drift = static_cast<T>(memory_drift_);
    m.memory_diffusion = static_cast<T>(memory_diffusion_);
    m.lower = lower_.data();
    m.upper = upper_.data();
    m.isotropic = options_.noise == Noise::isotropic;
    m.clip = options_.clip;
    m.draw = {options_.key, iteration, moves};
    if (problem_.gradient) {
        std::copy_n(x_.data(), n_ * d_, scratch_.data());
        problem_.gradient->evaluate(scratch_.data(), n_, gradient_.data());
        m.gradient = gradient_.data();
        m.gradient_weight = static_cast<T>(options_.gradient_weight);
    }
    const index_t n = m.rows ? n_batch() : n_;
    if (factor_.size()) {
        covariance_factor(y_.size() ? y_.data() : x_.data());
        correlated_move(m, n);
    } else if (options_.dynamics == Dynamics::hopping) {
        const bool in_box_units = std::isnan(options_.diffusion);
        std::vector<T> step(width_);
        for (T& s : step) s = static_cast<T>(diffusion_) * (in_box_units ? s : T(1));
        for_rows(n, [&](index_t, index_t r0, index_t r1) { kernels_.hop(m, step.data(), r0, r1); });
    } else {
        for_rows(n, [&](index_t, index_t r0, index_t r1) { kernels_.move(m, r0, r1); });
    }
    if (!batch_.empty() && still_ >= patience) {
        kick(k);
        still_ = 0;
    }
    diffusion_ *= diffusion_factor_;
    memory_diffusion_ *= diffusion_factor_;
    alpha_ = std::min(alpha_ * options_.alpha_factor, options_.alpha_max);
}

// With batches the consensus may stand still for long before the particles agree (Carrillo et al.
// 2021): every particle is thrown a tenth of the box. At a large alpha two batches in a row may
// share their best particle, which is no standstill yet.
template <class T> void Ensemble<T>::kick(index_t k) {
    Move<T> m;
    m.d = d_;
    m.x = x_.data();
    m.center = x_.data();
    m.center_stride = d_;
    m.lower = lower_.data();
    m.upper = upper_.data();
    m.clip = options_.clip;
    m.draw = {options_.key, static_cast<std::uint64_t>(k), kicks};
    std::vector<T> step(width_);
    for (T& s : step) s *= T(0.1);
    for_rows(n_, [&](index_t, index_t r0, index_t r1) { kernels_.hop(m, step.data(), r0, r1); });
}

template <class T> void Ensemble<T>::covariance_factor(const T* x) {
    // Partial sums would cost d^2 numbers a block, so the rows go through one tile after another.
    const index_t tile = std::min(n_, block_least_rows * 4);
    Buffer<T> rows(tile * d_);
    T* l = factor_.data();
    std::fill(l, l + d_ * d_, T(0));
    std::vector<double> w(n_);
    const double total = std::accumulate(w_.data(), w_.data() + n_, 0.0);
    for (index_t i = 0; i < n_; ++i) w[i] = w_[i] / total;
    for (index_t r = 0; r < n_; r += tile) {
        const index_t end = std::min(r + tile, n_);
        kernels_.weighted_deviation(w.data(), x, c_t_.data(), d_, r, end, rows.data());
        syrk<T>(d_, end - r, T(1), rows.data(), d_, T(1), l, d_);
    }
    double trace = 0;
    for (index_t k = 0; k < d_; ++k) trace += static_cast<double>(l[k * d_ + k]);
    const std::vector<T> covariance(l, l + d_ * d_);
    // Fewer particles than coordinates: the covariance is singular, and a ridge, as small as will
    // do, makes it factor.
    const double unit = static_cast<double>(std::numeric_limits<T>::epsilon());
    for (double ridge = 0;; ridge = ridge > 0 ? 10 * ridge : unit) {
        std::copy(covariance.begin(), covariance.end(), l);
        for (index_t k = 0; k < d_; ++k)
            l[k * d_ + k] += static_cast<T>(ridge * trace / static_cast<double>(d_));
        if (trace == 0 || ridge > 1) {
            std::fill(l, l + d_ * d_, T(0)); // collapsed: no noise
            return;
        }
        if (potrf<T>(d_, l, d_)) break;
    }
    for (index_t i = 0; i < d_; ++i)
        for (index_t k = i + 1; k < d_; ++k) l[i * d_ + k] = T(0);
}

// eta = L xi. In sampling the particles keep e^{-dt} of their deviation, and the noise's size makes
// the Gibbs measure stationary: sqrt((1 - e^{-2 dt}) / lt), lt = 1 (optimise) or 1 / (1 + alpha).
template <class T> void Ensemble<T>::correlated_move(Move<T> m, index_t n) {
    if (options_.dynamics == Dynamics::sampling) {
        const double keep = std::exp(-drift_), lt = options_.samples ? 1.0 / (1.0 + alpha_) : 1.0;
        m.drift = static_cast<T>(1.0 - keep);
        m.diffusion = static_cast<T>(std::sqrt((1.0 - keep * keep) / lt));
    }
    const index_t tile = block_least_rows;
    for_rows(n, [&](index_t, index_t first, index_t last) {
        Buffer<T> xi(tile * d_), eta(tile * d_);
        for (index_t r = first; r < last; r += tile) {
            const index_t end = std::min(r + tile, last), count = end - r;
            fill_normal(xi.data(), static_cast<std::uint64_t>(r * d_), count * d_, m.draw);
            gemm<T>(false, true, count, d_, d_, T(1), xi.data(), d_, factor_.data(), d_, T(0),
                    eta.data(), d_);
            kernels_.move_along(m, eta.data(), r, end);
        }
    });
}

template <class T> Record Ensemble<T>::record(index_t k) const {
    Record r;
    r.nit = k + 1;
    r.nfev = nfev_;
    r.dim = d_;
    r.x = best_x_.data();
    r.fun = best_f_;
    r.violation = best_v_ < no_limit ? best_v_ : 0.0;
    r.spread = spread_;
    r.alpha = alpha_;
    r.step_size = diffusion_;
    r.consensus = c_.data();
    return r;
}

template <class T> void Ensemble<T>::finish(CboResult<T>& result) {
    result.x = best_x_;
    result.fun = best_f_;
    result.violation = v_.size() ? best_v_ : 0.0;
    result.nfev = nfev_;
    result.population = std::move(x_);
    result.energies = std::move(f_);
    result.weights = std::move(w_);
    if (options_.samples) // the sample, not the consensus that moved it
        std::fill_n(result.weights.data(), result.weights.size(), 1.0 / static_cast<double>(n_));
    result.consensus = c_;
}

template class Ensemble<double>;
template class Ensemble<float>;

} // namespace fastopt
