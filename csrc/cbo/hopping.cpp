#include "cbo/hopping.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "cbo/box.hpp"
#include "core/vmath.hpp"

namespace fastopt {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double smallest_step = 1e-11, largest_step = 1e3;
constexpr double worst_condition = 1e14;
constexpr double flat = 1e-14;        // relative range of f that counts as rounding noise
constexpr double lattice_noise = 0.3; // least standard deviation of an integer, in cells
constexpr std::int64_t longest_history = 20000;
constexpr index_t block = 8; // rows that accumulate() takes in one pass over `out`

// out_j += sum_b w_b rows_bj for count <= block rows, added one after the other for every j.
void accumulate(double* __restrict out, const double* const* rows, const double* w, index_t count,
                index_t n) {
    if (count == block) {
        const double *r0 = rows[0], *r1 = rows[1], *r2 = rows[2], *r3 = rows[3], *r4 = rows[4],
                     *r5 = rows[5], *r6 = rows[6], *r7 = rows[7];
        const double w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3], w4 = w[4], w5 = w[5], w6 = w[6],
                     w7 = w[7];
        for (index_t j = 0; j < n; ++j)
            out[j] = out[j] + w0 * r0[j] + w1 * r1[j] + w2 * r2[j] + w3 * r3[j] + w4 * r4[j] +
                     w5 * r5[j] + w6 * r6[j] + w7 * r7[j];
        return;
    }
    for (index_t b = 0; b < count; ++b)
        for (index_t j = 0; j < n; ++j) out[j] += w[b] * rows[b][j];
}

} // namespace

Hopping::Hopping(index_t d, const std::vector<double>& cells)
    : d_(d), full_(d <= full_limit), cells_(cells), c_(d), best_point_(d), step_path_(d),
      covariance_path_(d), covariance_(full_ ? d * d : d), factor_(covariance_.size()), mean_y_(d),
      mean_z_(d), noise_(cells.empty() ? 0 : d) {}

void Hopping::check() const {
    const index_t square = full_ ? d_ * d_ : d_;
    Load::require(Load::has(c_, d_) && Load::has(best_point_, d_) && Load::has(step_path_, d_) &&
                      Load::has(covariance_path_, d_) && Load::has(covariance_, square) &&
                      Load::has(factor_, square),
                  "the hopping's arrays do not fit the number of coordinates");
    Load::require(n_ == 0 ? x_.empty() && finished_
                          : n_ >= 4 && static_cast<index_t>(x_.size()) / d_ == n_ &&
                                x_.size() % static_cast<std::size_t>(d_) == 0,
                  "the hopping's particles do not fit their number");
    Load::require(Load::counts(generation_) && factored_ >= 0 && factored_ <= generation_,
                  "the hopping's generations are out of range");
    for (const auto* values : {&best_history_, &median_history_})
        Load::require(
            std::none_of(values->begin(), values->end(), [](double f) { return std::isnan(f); }),
            "the hopping's history holds something that is not a number");
}

// Everything that follows from d and n: weights, rates and lengths (the tutorial's table 1).
void Hopping::prepare() {
    if (n_ == 0) return;
    const double d = static_cast<double>(d_), n = static_cast<double>(n_);
    parents_ = n_ / 2;
    weights_.resize(n_);
    double positive = 0, squares = 0, negative = 0, negative_squares = 0;
    for (index_t i = 0; i < n_; ++i) {
        const double w = vlog((n + 1) / 2) - vlog(static_cast<double>(i + 1));
        weights_[i] = w;
        (i < parents_ ? positive : negative) += w;
        (i < parents_ ? squares : negative_squares) += w * w;
    }
    mass_ = positive * positive / squares; // mueff
    path_rate_ = (4 + mass_ / d) / (d + 4 + 2 * mass_ / d);
    step_rate_ = (mass_ + 2) / (d + mass_ + 5);
    rank_one_ = 2 / ((d + 1.3) * (d + 1.3) + mass_);
    rank_mu_ =
        std::min(1 - rank_one_, 2 * (0.25 + mass_ - 2 + 1 / mass_) / ((d + 2) * (d + 2) + mass_));
    if (!full_) { // a diagonal has d parameters, not d^2 / 2: it may learn faster
        rank_one_ = std::min(0.5, rank_one_ * (d + 2) / 3);
        rank_mu_ = std::min(1 - rank_one_, rank_mu_ * (d + 2) / 3);
    }
    damping_ =
        1 + 2 * std::max(0.0, std::sqrt(std::max(0.0, (mass_ - 1) / (d + 1))) - 1) + step_rate_;
    const double negative_mass = negative_squares > 0 ? negative * negative / negative_squares : 0;
    double scale = 0;
    if (rank_mu_ > 0 && negative < 0)
        scale = std::min({1 + rank_one_ / rank_mu_, 1 + 2 * negative_mass / (mass_ + 2),
                          (1 - rank_one_ - rank_mu_) / (d * rank_mu_)});
    for (index_t i = 0; i < n_; ++i) weights_[i] *= i < parents_ ? 1 / positive : -scale / negative;
    weight_sum_ = negative < 0 ? 1 - scale : 1;
    normal_length_ = std::sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d * d)); // E |N(0, I)|
    interval_ = std::max<index_t>(1, static_cast<index_t>(1 / (10 * d * (rank_one_ + rank_mu_))));
    flat_window_ = 10 + static_cast<index_t>(30 * d / n);
    last_generation_ = static_cast<std::int64_t>(100 + 50 * (d + 3) * (d + 3) / std::sqrt(n));

    const std::int64_t history = std::min(
        longest_history, 120 + static_cast<std::int64_t>(30 * d / n) + last_generation_ / 5);
    best_history_.resize(history);
    median_history_.resize(history);
    sorted_.resize(history);
    for (auto* v : {&x_, &y_, &z_}) v->resize(n_ * d_);
    normals_.resize(n_ * d_);
    order_.resize(n_);
}

void Hopping::restart(const double* centre, index_t n, double step) {
    n_ = n;
    prepare();
    std::copy(centre, centre + d_, c_.begin());
    std::fill(step_path_.begin(), step_path_.end(), 0.0);
    std::fill(covariance_path_.begin(), covariance_path_.end(), 0.0);
    std::fill(covariance_.begin(), covariance_.end(), 0.0);
    for (index_t k = 0; k < d_; ++k) covariance_[full_ ? k * d_ + k : k] = 1;
    factor_ = covariance_;
    std::fill(best_history_.begin(), best_history_.end(), 0.0);
    std::fill(median_history_.begin(), median_history_.end(), 0.0);
    generation_ = factored_ = 0;
    s_ = step;
    best_ = infinity;
    finished_ = false;
}

// y_i = A z_i for all particles, `block` rows of A' at a time (its lower triangle is zero).
void Hopping::transform() {
    if (!full_) {
        for (index_t i = 0; i < n_; ++i)
            for (index_t k = 0; k < d_; ++k) y_[i * d_ + k] = factor_[k] * z_[i * d_ + k];
        return;
    }
    std::fill(y_.begin(), y_.end(), 0.0);
    const double* rows[block];
    for (index_t k = 0; k < d_; k += block) {
        const index_t count = std::min(block, d_ - k);
        for (index_t b = 0; b < count; ++b) rows[b] = &factor_[(k + b) * d_ + k];
        for (index_t i = 0; i < n_; ++i)
            accumulate(&y_[i * d_ + k], rows, &z_[i * d_ + k], count, d_ - k);
    }
}

void Hopping::resolve(const double* y, double* z) const {
    if (!full_) {
        for (index_t k = 0; k < d_; ++k) z[k] = y[k] / factor_[k];
        return;
    }
    std::copy(y, y + d_, z);
    for (index_t k = 0; k < d_; ++k) {
        const double* row = &factor_[k * d_];
        const double zk = z[k] /= row[k];
        for (index_t j = k + 1; j < d_; ++j) z[j] -= zk * row[j];
    }
}

void Hopping::sample(const Draw& draw) {
    fill_normal(normals_.data(), 0, n_ * d_, draw);
    for (index_t e = 0; e < n_ * d_; ++e) z_[e] = normals_[e];
    for (index_t k = 0; k < static_cast<index_t>(cells_.size()); ++k)
        noise_[k] = cells_[k] > 0 ? lattice_noise / cells_[k] - s_ * std::sqrt(variance(k)) : 0;
    transform();
    for (index_t i = 0; i < n_; ++i) {
        double *x = &x_[i * d_], *y = &y_[i * d_], *z = &z_[i * d_];
        for (index_t k = 0; k < d_; ++k) x[k] = c_[k] + s_ * y[k];
        if (reflect(x, d_)) {
            for (index_t k = 0; k < d_; ++k) y[k] = (x[k] - c_[k]) / s_;
            resolve(y, z);
        }
    }
    if (noise_.empty()) return;
    // Integers keep a least noise of their own, of which C learns nothing.
    fill_normal(normals_.data(), 0, n_ * d_, {draw.key, draw.iteration, draw.stream + 1});
    for (index_t i = 0; i < n_; ++i) {
        for (index_t k = 0; k < d_; ++k)
            if (noise_[k] > 0) x_[i * d_ + k] += noise_[k] * normals_[i * d_ + k];
        reflect(&x_[i * d_], d_);
    }
}

void Hopping::update(const double* f) {
    std::iota(order_.begin(), order_.end(), index_t{0});
    std::sort(order_.begin(), order_.end(),
              [f](index_t a, index_t b) { return f[a] < f[b] || (f[a] == f[b] && a < b); });
    std::fill(mean_y_.begin(), mean_y_.end(), 0.0);
    std::fill(mean_z_.begin(), mean_z_.end(), 0.0);
    for (index_t i = 0; i < parents_; ++i) {
        const double w = weights_[i];
        const double *y = &y_[order_[i] * d_], *z = &z_[order_[i] * d_];
        for (index_t k = 0; k < d_; ++k) mean_y_[k] += w * y[k];
        for (index_t k = 0; k < d_; ++k) mean_z_[k] += w * z[k];
    }
    if (noise_.empty()) {
        for (index_t k = 0; k < d_; ++k) c_[k] += s_ * mean_y_[k];
    } else {
        std::fill(c_.begin(), c_.end(), 0.0);
        for (index_t i = 0; i < parents_; ++i)
            for (index_t k = 0; k < d_; ++k) c_[k] += weights_[i] * x_[order_[i] * d_ + k];
    }
    for (double& c : c_) c = std::min(1.0, std::max(0.0, c));

    ++generation_;
    const double keep = std::sqrt(step_rate_ * (2 - step_rate_) * mass_);
    double length = 0;
    for (index_t k = 0; k < d_; ++k) {
        step_path_[k] = (1 - step_rate_) * step_path_[k] + keep * mean_z_[k];
        length += step_path_[k] * step_path_[k];
    }
    const double warm =
        1 - vexp(2 * static_cast<double>(generation_) * vlog(std::max(1e-300, 1 - step_rate_)));
    const bool step_path_long =
        length / static_cast<double>(d_) / warm >= 2 + 4 / (static_cast<double>(d_) + 1);
    const double growth = step_rate_ / damping_ * (std::sqrt(length) / normal_length_ - 1);
    update_covariance(step_path_long);
    s_ *= vexp(std::min(1.0, growth));
    if (generation_ - factored_ >= interval_ && !factor_covariance()) finished_ = true;
    judge(f);
}

// C <- (1 - c1 - cmu sum w) C + c1 pc pc' + cmu sum w_i y_i y_i', in place, rows of the upper
// triangle: (n + 2) d^2 / 2 multiply-adds.
void Hopping::update_covariance(bool step_path_long) {
    const double keep = std::sqrt(path_rate_ * (2 - path_rate_) * mass_);
    for (index_t k = 0; k < d_; ++k)
        covariance_path_[k] =
            (1 - path_rate_) * covariance_path_[k] + (step_path_long ? 0 : keep * mean_y_[k]);
    double decay = 1 - rank_one_ - rank_mu_ * weight_sum_;
    if (step_path_long) decay += rank_one_ * path_rate_ * (2 - path_rate_);
    for (double& c : covariance_) c *= decay;
    directions_.assign(1, covariance_path_.data());
    direction_weights_.assign(1, rank_one_);
    for (index_t i = 0; i < n_; ++i) {
        double w = rank_mu_ * weights_[i];
        if (w < 0) { // a long step must not make C indefinite
            const double* z = &z_[order_[i] * d_];
            double length = 0;
            for (index_t k = 0; k < d_; ++k) length += z[k] * z[k];
            w *= static_cast<double>(d_) / std::max(length, 1e-300);
        }
        if (w == 0) continue;
        directions_.push_back(&y_[order_[i] * d_]);
        direction_weights_.push_back(w);
    }
    const index_t directions = static_cast<index_t>(directions_.size());
    if (!full_) {
        for (index_t i = 0; i < directions; ++i)
            for (index_t k = 0; k < d_; ++k)
                covariance_[k] += direction_weights_[i] * directions_[i][k] * directions_[i][k];
        return;
    }
    const double* rows[block];
    double w[block];
    for (index_t i = 0; i < directions; i += block) {
        const index_t count = std::min(block, directions - i);
        for (index_t k = 0; k < d_; ++k) {
            for (index_t b = 0; b < count; ++b) {
                rows[b] = directions_[i + b] + k;
                w[b] = direction_weights_[i + b] * *rows[b];
            }
            accumulate(&covariance_[k * d_ + k], rows, w, count, d_ - k);
        }
    }
}

// A' = chol(C), by rows of the upper triangle; false when C is not safely positive.
bool Hopping::factor_covariance() {
    factored_ = generation_;
    double least = infinity, most = 0;
    if (!full_) {
        for (index_t k = 0; k < d_; ++k) {
            if (!(covariance_[k] > 0)) return false;
            factor_[k] = std::sqrt(covariance_[k]);
            least = std::min(least, covariance_[k]);
            most = std::max(most, covariance_[k]);
        }
        return most <= worst_condition * least;
    }
    factor_ = covariance_;
    const double* above[block];
    double w[block];
    for (index_t k = 0; k < d_; ++k) {
        double* row = &factor_[k * d_];
        for (index_t i = 0; i < k; i += block) {
            const index_t count = std::min(block, k - i);
            for (index_t b = 0; b < count; ++b) {
                above[b] = &factor_[(i + b) * d_ + k];
                w[b] = -*above[b];
            }
            accumulate(row + k, above, w, count, d_ - k);
        }
        const double pivot = row[k];
        if (!(pivot > 0) || !std::isfinite(pivot)) return false;
        least = std::min(least, pivot);
        most = std::max(most, pivot);
        const double root = std::sqrt(pivot), inverse = 1 / root;
        row[k] = root;
        for (index_t j = k + 1; j < d_; ++j) row[j] *= inverse;
    }
    return most <= worst_condition * least;
}

double Hopping::spread() const {
    double largest = 0;
    for (index_t k = 0; k < d_; ++k) largest = std::max(largest, variance(k));
    return s_ * std::sqrt(largest);
}

// Whether this restart has ended: converged, degenerate, flat or stagnating.
void Hopping::judge(const double* f) {
    const std::int64_t history = static_cast<std::int64_t>(best_history_.size());
    const double best = f[order_[0]];
    if (best < best_) {
        best_ = best;
        std::copy_n(&x_[order_[0] * d_], d_, best_point_.begin());
    }
    best_history_[(generation_ - 1) % history] = best;
    median_history_[(generation_ - 1) % history] = f[order_[n_ / 2]];
    const double width = spread();
    if (!(width > smallest_step) || !(s_ < largest_step) || generation_ > last_generation_)
        finished_ = true;
    if (generation_ >= flat_window_) {
        double low = infinity, high = -infinity;
        for (index_t g = generation_ - flat_window_; g < generation_; ++g) {
            low = std::min(low, best_history_[g % history]);
            high = std::max(high, best_history_[g % history]);
        }
        if (low == high || high - low <= flat * std::max(std::abs(low), std::abs(high)))
            finished_ = true;
    }
    if (stagnated()) finished_ = true;
}

// Neither best nor median values of the last 30 % of the window beat those of the first 30 %.
bool Hopping::stagnated() const {
    const std::int64_t history = static_cast<std::int64_t>(best_history_.size());
    const std::int64_t least = 120 + 30 * d_ / n_;
    const std::int64_t window = std::min(history, least + generation_ / 5);
    if (generation_ < window || generation_ % std::max<std::int64_t>(1, window / 10) != 0)
        return false;
    const std::int64_t part = std::max<std::int64_t>(1, 3 * window / 10);
    const auto median = [&](const std::vector<double>& ring, std::int64_t from) {
        for (std::int64_t g = 0; g < part; ++g) sorted_[g] = ring[(from + g) % history];
        std::nth_element(sorted_.begin(), sorted_.begin() + part / 2, sorted_.begin() + part);
        return sorted_[part / 2];
    };
    const std::int64_t first = generation_ - window, last = generation_ - part;
    return median(best_history_, last) >= median(best_history_, first) &&
           median(median_history_, last) >= median(median_history_, first);
}

} // namespace fastopt
