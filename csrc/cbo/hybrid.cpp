#include "cbo/hybrid.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/vmath.hpp"

namespace fastopt {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr index_t restart_growth = 3; // of the number of particles of H
constexpr index_t head_start = 1000;  // evaluations per dimension of H alone
constexpr index_t first_search = 100; // evaluations per dimension of the local search at the start
constexpr index_t search_budget = 50; // ... and of a later one
constexpr double hop_step = 0.2;      // first step size of a restart of H
constexpr double refine_step = 0.01;  // ... that starts from the best point
constexpr double polish_spread = 1e-2, final_spread = 1e-4; // of P
constexpr double swarm_share = 0.25, swarm_leading_share = 0.75;
constexpr double local_share = 0.10, local_leading_share = 0.30;
constexpr double zero_scale = 1e-4;        // of f's scale, below which |f| counts as zero ...
constexpr double coarse_zero_scale = 1;    // ... in float32
constexpr double same_place = 1e-3;        // of the box, within which two ends are one minimum
constexpr double least_rank = 1e100;       // ranks of infeasible points lie above
constexpr double coarse_difference = 5e-3; // step of differences in float32: its epsilon^(1/3)

// Streams of random numbers within one step.
enum Stream : std::uint32_t { normals = 0, centre = 2, uniforms = 3, batches = 4, start_point = 7 };

// How far the median of the values lies above the least: what f is worth in most of the box.
double scale_of(std::vector<double> f) {
    const auto finite =
        std::partition(f.begin(), f.end(), [](double v) { return std::abs(v) < least_rank; });
    if (finite == f.begin()) return 0;
    const auto middle = f.begin() + (finite - f.begin()) / 2;
    std::nth_element(f.begin(), middle, finite);
    return *middle - *std::min_element(f.begin(), finite);
}

LbfgsOptions lbfgs_options(const HybridOptions& o) {
    LbfgsOptions options;
    if (o.coarse) options.difference = coarse_difference, options.central = true;
    return options;
}

} // namespace

Hybrid::Hybrid(index_t d, HybridOptions options)
    : d_(d), o_(std::move(options)), best_point_(d, 0.5), ends_(d), global_ends_(d),
      hopping_(d, o_.cells), swarm_(d), lbfgs_(d, lbfgs_options(o_)), point_(d) {
    if (o_.n_particles <= 0)
        o_.n_particles = 4 + static_cast<index_t>(3 * vlog(static_cast<double>(d)));
    o_.n_particles = std::max<index_t>(o_.n_particles, 4);
    for (double cells : o_.cells) frozen_.push_back(cells > 0);
}

void Hybrid::check() const {
    const auto regime = [](std::int64_t r) { return r >= 0 && r <= 3; };
    Load::require(regime(regime_) && regime(leader_) && (particles_ == 1 || particles_ == 2),
                  "it names a regime that does not exist");
    Load::require(Load::has(best_point_, d_), "its best point does not fit");
    for (const std::int64_t count :
         {iteration_, restarts_, runs_, nfev_[0], nfev_[1], nfev_[2], nfev_[3]})
        Load::require(Load::counts(count), "a count is out of range");
    Load::require(swarm_.size() > 0 || (runs_ == 0 && particles_ == 1),
                  "the swarm that it names is empty");
    Load::require(hopping_.size() > 0 || restarts_ == 0, "the hopping that it names is empty");
}

Status Hybrid::step(const Evaluate& evaluate) {
    const Regime regime = choose();
    regime_ = static_cast<int>(regime);
    bool complete = true;
    if (regime == Regime::hopping) {
        complete = hop(evaluate);
    } else if (regime == Regime::swarm) {
        complete = swarm(evaluate);
    } else {
        if (regime == Regime::local)
            fill_uniform(point_.data(), 0, d_, draw(start_point));
        else if (o_.x0.empty())
            std::fill(point_.begin(), point_.end(), 0.5);
        else
            point_ = o_.x0;
        const LocalResult found = search_from(point_, evaluate);
        complete = found.complete;
        if (found.converged) ended(found.f, point_.data());
    }
    if (!complete) return Status::maxfev;
    ++iteration_;
    return agreed() ? Status::agreement : Status::running;
}

// Whose turn it is: a pure function of the state.
Regime Hybrid::choose() const {
    if (iteration_ == 0 && o_.polish) return Regime::start;
    if (!mature_) return Regime::hopping;
    const Regime leader = static_cast<Regime>(leader_);
    const double total = static_cast<double>(nfev());
    const double p = leader == Regime::swarm ? swarm_leading_share : swarm_share;
    const double s = leader == Regime::local ? local_leading_share : local_share;
    if (static_cast<double>(nfev(Regime::swarm)) < p * total) return Regime::swarm;
    if (o_.polish && static_cast<double>(nfev(Regime::local)) < s * total) return Regime::local;
    return Regime::hopping;
}

// A best point that H did not find is refined from there once, which local searches leave undone on
// ill-conditioned functions; otherwise H starts anywhere, with more particles than last time.
void Hybrid::restart_hopping() {
    refining_ = restarts_ > 0 && leader_ != static_cast<int>(Regime::hopping) && best_ < refined_;
    if (refining_) {
        refined_ = best_;
        hopping_.restart(best_point_.data(), o_.n_particles, refine_step);
        return;
    }
    index_t n = o_.n_particles;
    for (std::int64_t r = 0; r < restarts_ && n < (index_t{1} << 40) / d_; ++r) n *= restart_growth;
    if (restarts_ == 0 && !o_.x0.empty())
        point_ = o_.x0;
    else
        fill_uniform(point_.data(), 0, d_, draw(centre));
    hopping_.restart(point_.data(), n, hop_step);
    ++restarts_;
}

bool Hybrid::hop(const Evaluate& evaluate) {
    if (hopping_.finished()) restart_hopping();
    hopping_.sample(draw(normals));
    values_.resize(hopping_.size());
    if (!evaluated(hopping_.particles(), hopping_.size(), values_.data(), evaluate)) return false;
    hopping_.update(values_.data());
    energies_ = values_;
    if (restarts_ == 1 && hopping_.generation() == 1) scale_ = scale_of(values_);
    particles_ = static_cast<int>(Regime::hopping);
    if (hopping_.finished() && !refining_) ended(hopping_.best(), hopping_.best_point());
    mature_ = mature_ || hopping_.finished() || nfev() >= head_start * d_;
    return true;
}

bool Hybrid::swarm(const Evaluate& evaluate) {
    const bool contracted = runs_ > 0 && !swarm_.fresh() && swarm_.spread() < polish_spread;
    if (contracted && !polished_ && o_.polish) {
        std::copy(swarm_.consensus(), swarm_.consensus() + d_, point_.begin());
        const LocalResult found = search_from(point_, evaluate);
        if (!found.complete) return false;
        swarm_.replace_leader(point_.data(), found.f);
        polished_ = true;
        unsettled_ = !found.converged;
        return true;
    }
    if (runs_ == 0 || (contracted && swarm_.spread() < final_spread)) {
        const index_t n = std::max<index_t>(4, d_) << std::min<std::int64_t>(runs_, 20);
        if (runs_ > 0 && !unsettled_) ended(swarm_.best(), swarm_.consensus());
        swarm_.restart(n, draw(uniforms));
        polished_ = unsettled_ = false;
        ++runs_;
    } else if (!swarm_.fresh()) {
        swarm_.propose(draw(batches));
    }
    values_.resize(swarm_.size());
    if (!evaluated(swarm_.candidates(), swarm_.size(), values_.data(), evaluate)) return false;
    swarm_.accept(values_.data());
    particles_ = static_cast<int>(Regime::swarm);
    return true;
}

// A local search from u, which it improves.
LocalResult Hybrid::search_from(std::vector<double>& u, const Evaluate& evaluate) {
    const bool first = regime_ == static_cast<int>(Regime::start);
    const index_t wanted = (first ? first_search : search_budget) * d_;
    const index_t maxfun = o_.maxfev > 0 ? std::min(wanted, o_.maxfev - nfev()) : wanted;
    snap(u.data(), 1);
    LocalResult result;
    if (o_.local_search) {
        result = o_.local_search(u.data(), maxfun);
        nfev_[regime_] += result.nfev;
        note(u.data(), 1, &result.f);
    } else {
        result = lbfgs_.minimize(u.data(), frozen_, maxfun,
                                 [&](const double* points, index_t n, double* values) {
                                     const index_t done = evaluate(points, n, values);
                                     nfev_[regime_] += done;
                                     note(points, done, values);
                                     return done;
                                 });
    }
    return result;
}

// Moves integers to the middle of their cells.
void Hybrid::snap(double* u, index_t n) const {
    for (index_t k = 0; k < static_cast<index_t>(o_.cells.size()); ++k) {
        const double cells = o_.cells[k];
        if (!(cells > 0)) continue;
        for (index_t i = 0; i < n; ++i) {
            double& x = u[i * d_ + k];
            x = (std::min(cells - 1, std::floor(x * cells)) + 0.5) / cells;
        }
    }
}

// Values of n points, snapped; false if cut short.
bool Hybrid::evaluated(double* u, index_t n, double* f, const Evaluate& evaluate) {
    snap(u, n);
    const index_t done = evaluate(u, n, f);
    nfev_[regime_] += done;
    note(u, done, f);
    return done == n;
}

void Hybrid::note(const double* u, index_t n, const double* f) {
    for (index_t i = 0; i < n; ++i) {
        if (!(f[i] < best_)) continue;
        best_ = f[i];
        leader_ = regime_;
        std::copy(u + i * d_, u + (i + 1) * d_, best_point_.begin());
    }
}

void Hybrid::ended(double f, const double* u) {
    ends_.add(f, u);
    if (regime() == Regime::hopping || regime() == Regime::swarm) global_ends_.add(f, u);
}

// The last searches, independent of each other, all ended at the best value; the last restarts of H
// and P alone are enough, since most local searches end in a local minimum where there are many.
bool Hybrid::agreed() const {
    if (!std::isfinite(best_)) return false;
    const double close = best_ + o_.atol + o_.tol * std::abs(best_);
    const double rounded = best_ + o_.tol * (o_.coarse ? coarse_zero_scale : zero_scale) * scale_;
    return ends_.all_at(best_point_.data(), close, rounded) ||
           global_ends_.all_at(best_point_.data(), close, rounded);
}

void Ends::add(double f, const double* u) {
    const auto d = points_.size() / f_.size();
    std::rotate(f_.begin(), f_.begin() + 1, f_.end());
    std::rotate(points_.begin(), points_.begin() + d, points_.end());
    f_.back() = f;
    std::copy(u, u + d, points_.end() - d);
}

// Within atol + tol |f|; a minimum of zero has no |f| to measure by, and the scale of f takes its
// place, but only for ends at the best point: a local minimum may be small beside a penalty.
bool Ends::all_at(const double* best, double close, double rounded) const {
    const std::size_t d = points_.size() / f_.size();
    for (std::size_t e = 0; e < f_.size(); ++e) {
        if (f_[e] <= close) continue;
        if (!(f_[e] <= rounded)) return false;
        for (std::size_t k = 0; k < d; ++k)
            if (std::abs(points_[e * d + k] - best[k]) > same_place) return false;
    }
    return true;
}

const std::vector<double>& Hybrid::population() const {
    return particles_ == static_cast<int>(Regime::swarm) ? swarm_.population()
                                                         : hopping_.population();
}

const std::vector<double>& Hybrid::energies() const {
    return particles_ == static_cast<int>(Regime::swarm) ? swarm_.energies() : energies_;
}

std::vector<double> Hybrid::consensus() const {
    if (particles_ == static_cast<int>(Regime::swarm))
        return {swarm_.consensus(), swarm_.consensus() + d_};
    return hopping_.consensus();
}

double Hybrid::spread() const {
    return particles_ == static_cast<int>(Regime::swarm) ? swarm_.spread() : hopping_.spread();
}

double Hybrid::step_size() const {
    return particles_ == static_cast<int>(Regime::swarm) ? swarm_.spread() : hopping_.step_size();
}

} // namespace fastopt
