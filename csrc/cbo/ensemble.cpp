#include "cbo/ensemble.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.hpp"
#include "core/random.hpp"

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

constexpr index_t patience = 100;   // iterations without a change of consensus
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
// Whether particles meet in the consensus only, and all of them at a time.
bool divisible(const CboOptions& o) {
    const bool consensus = o.dynamics == Dynamics::standard || o.dynamics == Dynamics::memory ||
                           o.dynamics == Dynamics::hopping;
    return consensus && o.noise != Noise::covariance && o.batch_size == 0 && kernels_on_host();
}
double default_ess(const CboOptions& o) {
    if (o.dynamics == Dynamics::sampling) return 0.4;
    return o.dynamics == Dynamics::hopping || o.noise == Noise::covariance ? 0.2 : 0.1;
}

} // namespace

template <class T>
Ensemble<T>::Ensemble(const CboProblem<T>& problem, const CboOptions& options)
    : problem_(problem), options_(options), n_(options.n_particles), d_(problem.dim()),
      shares_(problem.comm, n_, rows_of_block(d_), divisible(options)),
      n_held_(shares_.held().count()), queue_(make_queue()),
      steps_(queue_, n_held_, d_, options.threads), lower_(queue_, d_), upper_(queue_, d_),
      inverse_kernel_(queue_, d_), x_(queue_, checked_product(n_held_, d_)), f_(queue_, n_),
      e_(queue_, n_), w_(queue_, n_), c_t_(queue_, d_) {
    for (index_t k = 0; k < d_; ++k) {
        const double range = problem.upper[k] - problem.lower[k];
        lower_.mirror()[k] = round_up<T>(problem.lower[k]);
        upper_.mirror()[k] = round_down<T>(problem.upper[k]);
        width_.push_back(static_cast<T>(std::isfinite(range) ? range : 1.0));
        const double kernel = options.kernel_width * static_cast<double>(width_[k]);
        inverse_kernel_.mirror()[k] = kernel > 0 ? static_cast<T>(1.0 / kernel) : T(0);
    }
    lower_.send(), upper_.send(), inverse_kernel_.send();
    const bool integral =
        std::any_of(problem.integer.begin(), problem.integer.end(), [](char i) { return i; });
    if (integral) {
        integer_ = Array<char>(queue_, d_);
        std::copy_n(problem.integer.begin(), d_, integer_.mirror());
        integer_.send();
    }

    const bool sampling = options.dynamics == Dynamics::sampling;
    drift_ = value_or(options.drift, default_drift(options));
    diffusion_ = value_or(options.diffusion, default_diffusion(options, drift_, d_));
    diffusion_factor_ = value_or(options.diffusion_factor, default_diffusion_factor(options));
    ess_ = value_or(options.ess, default_ess(options));
    memory_drift_ = value_or(options.memory_drift, drift_);
    memory_diffusion_ = value_or(options.memory_diffusion, 0.0);
    alpha_ = options.alpha < 0 ? 0.0 : options.alpha; // 0: to be chosen

    const bool gathers = options.batch_size > 0 || integral || problem.gradient != nullptr ||
                         !problem.objective->preserves_points();
    if (gathers) scratch_ = Array<T>(queue_, n_held_ * d_);
    if (problem.gradient) gradient_ = Array<T>(queue_, n_held_ * d_);
    if (options.dynamics == Dynamics::memory)
        y_ = Array<T>(queue_, n_held_ * d_), y_f_ = Array<double>(queue_, n_),
        y_v_ = Array<double>(queue_, n_);
    if (problem.objective->constrained()) v_ = Array<double>(queue_, n_);
    if (options.dynamics == Dynamics::polarized) {
        centers_ = Array<T>(queue_, n_ * d_);
        if (const index_t m = options.n_minimizers; m > 0) {
            responsibility_ = Array<double>(queue_, checked_product(n_, m));
            points_ = Array<T>(queue_, checked_product(m, d_));
            share_ = Array<double>(queue_, n_);
            clusters_ = Buffer<double>(checked_product(m, d_));
        }
    }
    if (options.noise == Noise::covariance || sampling) {
        factor_ = Array<T>(queue_, checked_product(d_, d_));
        share_ = Array<double>(queue_, n_);
    }
    if (options.dynamics == Dynamics::hopping || options.batch_size > 0)
        step_ = Array<T>(queue_, d_);
    if (options.batch_size > 0) {
        batch_.resize(n_);
        std::iota(batch_.begin(), batch_.end(), index_t{0});
        batch_at_ = n_; // the first iteration shuffles
        chunk_.resize(options.batch_size);
        rows_ = Array<index_t>(queue_, options.batch_size);
    }
    c_.assign(d_, 0.0), best_x_.assign(d_, unset);
}

// What was read of a file fits the problem; arrays of fixed size are refused before.
template <class T> void Ensemble<T>::check() const {
    Load::require(Load::has(c_, d_) && Load::has(best_x_, d_), "its points do not fit");
    Load::require(nfev_ >= 0 && epoch_ >= 0 && still_ >= 0 && batch_at_ >= 0,
                  "a count is negative");
    const index_t size = options_.batch_size;
    Load::require(Load::has(batch_, size > 0 ? n_ : 0) && Load::has(chunk_, size) &&
                      batch_at_ <= n_,
                  "its batches do not fit");
    for (const auto* rows : {&batch_, &chunk_})
        Load::require(std::all_of(rows->begin(), rows->end(),
                                  [&](index_t row) { return row >= 0 && row < n_; }),
                      "a batch names a particle that does not exist");
}

template <class T> void Ensemble<T>::initialise() {
    T* x = x_.mirror();
    const Share held = shares_.held();
    if (problem_.init) {
        std::copy(problem_.init + held.begin * d_, problem_.init + held.end * d_, x);
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
            for (index_t i = held.begin; i < held.end; ++i)
                x[(i - held.begin) * d_ + k] = static_cast<T>(lo + range * u[i]);
        }
    }
    if (held.begin == 0)
        std::transform(problem_.x0.begin(), problem_.x0.end(), x,
                       [](double coordinate) { return static_cast<T>(coordinate); });
    for (index_t i = 0; i < n_held_; ++i)
        for (index_t k = 0; k < d_; ++k)
            x[i * d_ + k] =
                std::min(std::max(x[i * d_ + k], lower_.mirror()[k]), upper_.mirror()[k]);
    x_.send();
    for (const Array<double>* values : {&f_, &v_, &y_f_, &y_v_})
        if (values->size()) {
            std::fill_n(values->mirror(), values->size(), no_limit);
            values->send();
        }
    if (y_.size()) {
        std::copy(x, x + n_held_ * d_, y_.mirror());
        y_.send();
    }
    if (clusters_.size()) first_clusters();
}

// The first consensus points: a random particle, then each time the one farthest from those chosen.
template <class T> void Ensemble<T>::first_clusters() {
    const T *x = x_.mirror(), *inverse = inverse_kernel_.mirror();
    std::uint32_t word;
    fill_words(&word, 0, 1, {options_.key, 0, clusters});
    index_t next = scale_word(word, static_cast<std::uint32_t>(n_));
    std::vector<double> nearest(n_, no_limit);
    for (index_t m = 0; m < options_.n_minimizers; ++m) {
        for (index_t k = 0; k < d_; ++k)
            clusters_[m * d_ + k] = static_cast<double>(x[next * d_ + k]);
        for (index_t i = 0; i < n_; ++i) {
            double distance = 0;
            for (index_t k = 0; k < d_; ++k) {
                const double t =
                    static_cast<double>((x[i * d_ + k] - x[next * d_ + k]) * inverse[k]);
                distance += t * t;
            }
            nearest[i] = std::min(nearest[i], distance);
        }
        next = std::max_element(nearest.begin(), nearest.end()) - nearest.begin();
    }
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
    send_batch();
}

template <class T> void Ensemble<T>::send_batch() {
    std::copy(chunk_.begin(), chunk_.end(), rows_.mirror());
    rows_.send();
}

template <class T> void Ensemble<T>::send_consensus() {
    std::transform(c_.begin(), c_.end(), c_t_.mirror(), [](double c) { return static_cast<T>(c); });
    c_t_.send();
}

template <class T> void Ensemble<T>::evaluate() {
    next_batch();
    const index_t n = n_batch();
    const index_t* rows = batch_rows();
    const Array<T>& points = scratch_.size() ? scratch_ : x_;
    if (scratch_.size())
        steps_.gather(x_.data(), rows, n_here(), integer_.size() ? integer_.data() : nullptr,
                      lower_.data(), upper_.data(), points.data());
    const Array<double>& f = rows ? e_ : f_; // a batch's values pass through e and w
    const Array<double>& v = rows && v_.size() ? w_ : v_;
    if (!problem_.objective->evaluate_resident(queue_, points.data(), n, f.data())) {
        shares_.evaluate(*problem_.objective, points.fetch(), n, d_, f.mirror(),
                         v.size() ? v.mirror() : nullptr);
        f.send(), v.send();
    }
    nfev_ += n;

    const auto best = steps_.tidy(f.data(), v.size() ? v.data() : nullptr, n);
    if (better(best.violation, best.f, best_v_, best_f_)) {
        best_v_ = best.violation, best_f_ = best.f;
        // The objective may have overwritten its points: take the particle's own.
        std::vector<T> x(d_);
        const index_t i = rows ? chunk_[best.row] : best.row;
        const Share held = shares_.held();
        if (i >= held.begin && i < held.end)
            download(*queue_, x.data(), x_.data() + (i - held.begin) * d_, x.size() * sizeof(T));
        std::copy(x.begin(), x.end(), best_x_.begin());
        shares_.send_row(i, best_x_.data(), d_);
        for (index_t k = 0; k < d_; ++k) {
            if (integer_.size() && problem_.integer[k])
                best_x_[k] =
                    std::min(std::max(std::nearbyint(best_x_[k]), std::ceil(problem_.lower[k])),
                             std::floor(problem_.upper[k]));
        }
    }
    if (!rows) return;
    steps_.scatter(f.data(), rows, n, f_.data());
    if (v.size()) steps_.scatter(v.data(), rows, n, v_.data());
}

// Borghi, Herty, Pareschi (2023), algorithm 1: the penalty grows while the weighted violation at
// the consensus exceeds a tolerance; otherwise the tolerance shrinks.
template <class T> void Ensemble<T>::update_penalty() {
    if (!v_.size()) return;
    constexpr double grow = 1.1, shrink = 0.9;
    const index_t n = n_batch();
    const double *f = f_.fetch(), *v = v_.fetch(), *w = w_.fetch();
    double f_sum = 0, f_square = 0, v_sum = 0, count = 0, w_sum = 0, wv_sum = 0;
    for (index_t r = 0; r < n; ++r) {
        const index_t i = batch_.empty() ? r : chunk_[r];
        if (!(f[i] < no_limit) || !(v[i] < no_limit)) continue;
        f_sum += f[i], f_square += f[i] * f[i], v_sum += v[i], count += 1;
        w_sum += w[r], wv_sum += w[r] * v[i];
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

template <class T> void Ensemble<T>::consensus(index_t k) {
    const index_t n = n_batch();
    const index_t* rows = batch_rows();
    const bool memory = y_.size() > 0, constrained = v_.size() > 0;
    if (memory) {
        const index_t first = shares_.held().begin;
        steps_.remember(x_.data(), f_.data() + first, constrained ? v_.data() + first : nullptr,
                        rows, n_here(), penalty_, y_.data(), y_f_.data() + first,
                        y_v_.data() + first);
        if (shares_.divided()) {
            shares_.gather(y_f_.mirror(), n_);
            if (constrained) shares_.gather(y_v_.mirror(), n_);
        }
    }
    const T* x = memory ? y_.data() : x_.data();
    const double* v = !constrained ? nullptr : (memory ? y_v_.data() : v_.data());
    steps_.energies(memory ? y_f_.data() : f_.data(), v, rows, n, penalty_, e_.data());

    const auto spread = steps_.spread(e_.data(), n);
    energy_min_ = spread.least;
    if (!std::isfinite(energy_min_)) return;
    const double mean = spread.above / static_cast<double>(n);
    spread_ = std::isfinite(spread.square)
                  ? std::sqrt(std::max(spread.square / static_cast<double>(n) - mean * mean, 0.0))
                  : no_limit;
    // Where the squares underflow, the sum of the distances, which is no less, stands for them.
    if (spread.square < std::numeric_limits<double>::min()) spread_ = spread.above;
    mean_ = energy_min_ + mean;

    if (!options_.alpha_schedule.empty())
        alpha_ = options_.alpha_schedule[std::min<std::size_t>(static_cast<std::size_t>(k),
                                                               options_.alpha_schedule.size() - 1)];
    else if (options_.alpha < 0)
        alpha_ = steps_.choose_alpha(e_.data(), n, energy_min_, alpha_ > 0 ? alpha_ : 1 / mean,
                                     ess_ * static_cast<double>(n));
    steps_.gibbs(e_.data(), n, alpha_, energy_min_, w_.data());

    c_before_ = c_;
    steps_.weighted_mean(x, rows, n_here(), w_.data() + shares_.held().begin, shares_, c_.data());
    still_ = c_ == c_before_ ? still_ + 1 : 0;
    send_consensus();
    update_penalty();
    if (options_.dynamics != Dynamics::polarized) return;
    if (clusters_.size())
        clustered_consensus(x);
    else
        steps_.polarize(x, e_.data(), n_, std::min(alpha_, 1e150), energy_min_,
                        inverse_kernel_.data(), centers_.data());
}

// The consensus has not changed for many iterations and every particle sits on it: nothing will
// ever move again. (At a large alpha the consensus is the best particle and may rest for long,
// while the others still search.)
template <class T> bool Ensemble<T>::stands_still() const {
    if (still_ < patience || !batch_.empty() || options_.dynamics == Dynamics::polarized)
        return false;
    const T unit = 4 * std::numeric_limits<T>::epsilon();
    const T *x = x_.fetch(), *c = c_t_.mirror();
    bool still = true;
    for (index_t i = 0; i < n_held_; ++i)
        for (index_t k = 0; still && k < d_; ++k)
            still = !(std::fabs(x[i * d_ + k] - c[k]) > unit * std::fabs(c[k]));
    return shares_.all(still);
}

// M consensus points c_m = sum_i p_im w_i x_i / sum_i p_im w_i with memberships p, each particle
// drifting to c_i = sum_m p_im c_m; O(N M d).
template <class T> void Ensemble<T>::clustered_consensus(const T* x) {
    const index_t m = options_.n_minimizers;
    std::transform(clusters_.data(), clusters_.data() + m * d_, points_.mirror(),
                   [](double c) { return static_cast<T>(c); });
    points_.send();
    steps_.responsibility(x, points_.data(), n_, m, inverse_kernel_.data(), responsibility_.data());
    double* p = responsibility_.fetch();
    const double* e = e_.fetch();
    for (index_t i = 0; i < n_; ++i) {
        double* row = p + i * m;
        const double least = least_share * *std::max_element(row, row + m);
        double total = 0;
        for (index_t q = 0; q < m; ++q) total += row[q] = row[q] >= least ? row[q] : 0.0;
        for (index_t q = 0; q < m; ++q) row[q] /= total;
    }
    for (index_t q = 0; q < m; ++q) {
        // Energies are shifted within the cluster: a poor basin's weights do not vanish.
        double least = no_limit, total = 0;
        for (index_t i = 0; i < n_; ++i)
            if (p[i * m + q] > 0) least = std::min(least, e[i]);
        if (!(least < no_limit)) continue; // an empty cluster keeps its point
        steps_.gibbs(e_.data(), n_, alpha_, least, share_.data());
        double* w = share_.fetch();
        for (index_t i = 0; i < n_; ++i) { // a better particle elsewhere has weight inf here
            w[i] = p[i * m + q] > 0 ? w[i] * p[i * m + q] : 0.0;
            total += w[i];
        }
        share_.send();
        if (total > 0)
            steps_.weighted_mean(x, nullptr, n_, share_.data(), shares_, clusters_.data() + q * d_);
    }
    T* centers = centers_.mirror();
    for (index_t i = 0; i < n_; ++i)
        for (index_t k = 0; k < d_; ++k) {
            double c = 0;
            for (index_t q = 0; q < m; ++q) c += p[i * m + q] * clusters_[q * d_ + k];
            centers[i * d_ + k] = static_cast<T>(c);
        }
    centers_.send();
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
    m.first = shares_.held().begin;
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
        std::copy_n(x_.fetch(), n_held_ * d_, scratch_.mirror());
        shares_.evaluate(*problem_.gradient, scratch_.mirror(), n_, d_, gradient_.mirror());
        gradient_.send();
        m.gradient = gradient_.data();
        m.gradient_weight = static_cast<T>(options_.gradient_weight);
    }
    const index_t n = m.rows ? n_batch() : n_held_;
    if (factor_.size()) {
        covariance_factor(y_.size() ? y_.data() : x_.data());
        if (options_.dynamics == Dynamics::sampling) {
            // The particles keep e^{-dt} of their deviation, and the noise's size makes the Gibbs
            // measure stationary: sqrt((1 - e^{-2 dt}) / lt), lt = 1 (optimise) or 1 / (1 + alpha).
            const double keep = std::exp(-drift_);
            const double lt = options_.samples ? 1.0 / (1.0 + alpha_) : 1.0;
            m.drift = static_cast<T>(1.0 - keep);
            m.diffusion = static_cast<T>(std::sqrt((1.0 - keep * keep) / lt));
        }
        steps_.correlated_move(m, factor_.data(), n);
    } else if (options_.dynamics == Dynamics::hopping) {
        const bool in_box_units = std::isnan(options_.diffusion);
        for (index_t k2 = 0; k2 < d_; ++k2)
            step_.mirror()[k2] = static_cast<T>(diffusion_) * (in_box_units ? width_[k2] : T(1));
        step_.send();
        steps_.hop(m, step_.data(), n);
    } else {
        steps_.move(m, n);
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
    for (index_t j = 0; j < d_; ++j) step_.mirror()[j] = width_[j] * T(0.1);
    step_.send();
    steps_.hop(m, step_.data(), n_);
}

template <class T> void Ensemble<T>::covariance_factor(const T* x) {
    const double* w = w_.fetch();
    const double total = std::accumulate(w, w + n_, 0.0);
    std::transform(w, w + n_, share_.mirror(), [total](double wi) { return wi / total; });
    share_.send();
    steps_.covariance(share_.data(), x, c_t_.data(), n_, factor_.data());
    T* l = factor_.fetch();
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
            break;
        }
        if (potrf<T>(d_, l, d_)) break;
    }
    for (index_t i = 0; i < d_; ++i)
        for (index_t k = i + 1; k < d_; ++k) l[i * d_ + k] = T(0);
    factor_.send();
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
    result.population = x_.take();
    result.first_row = shares_.held().begin;
    result.energies = f_.take();
    result.weights = w_.take();
    if (options_.samples) // the sample, not the consensus that moved it
        std::fill_n(result.weights.data(), result.weights.size(), 1.0 / static_cast<double>(n_));
    result.consensus = c_;
}

template class Ensemble<double>;
template class Ensemble<float>;

} // namespace fastopt
