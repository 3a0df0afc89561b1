#include "cbo/swarm.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cbo/box.hpp"

namespace fastopt {
namespace {

constexpr double mean_batch = 1.5;   // coordinates that move, beside the forced one
constexpr double jump_share = 0.1;   // of the moves
constexpr double leader_noise = 0.3; // times its distance to a random particle
constexpr double two_to_32 = 4294967296.0;

} // namespace

Swarm::Swarm(index_t d) : d_(d), sum_(d), squares_(d) {}

void Swarm::check() const {
    const bool empty = n_ == 0 && y_.empty() && x_.empty() && leader_ == 0;
    const bool sized = n_ >= 4 && Load::has(f_, n_) && Load::has(y_, n_ * d_) &&
                       Load::has(x_, n_ * d_) && leader_ >= 0 && leader_ < n_;
    Load::require(empty || sized, "the swarm's arrays do not fit together");
    Load::require(std::none_of(f_.begin(), f_.end(), [](double f) { return std::isnan(f); }),
                  "a value of the swarm is not a number");
}

void Swarm::prepare() {
    y_.resize(n_ * d_);
    x_.resize(n_ * d_);
    f_.resize(n_);
    words_.resize(n_ * (d_ + 1) + 1);
    moves_.resize(n_ * d_);
    normals_.resize(n_ * d_);
    jumps_.resize(n_ * d_);
}

void Swarm::restart(index_t n, const Draw& draw) {
    n_ = n;
    prepare();
    fill_uniform(x_.data(), 0, n_ * d_, draw);
    std::fill(f_.begin(), f_.end(), std::numeric_limits<double>::infinity());
    fresh_ = true;
    leader_ = 0;
    spread_ = 1;
}

// Per particle: d + 1 random words, about 2.5 normals.
void Swarm::propose(const Draw& draw) {
    const Draw normal{draw.key, draw.iteration, draw.stream + 1};
    const Draw uniform{draw.key, draw.iteration, draw.stream + 2};
    const double share = std::min(1.0, mean_batch / static_cast<double>(d_));
    const std::uint32_t moved =
        static_cast<std::uint32_t>(std::min(two_to_32 - 1, share * two_to_32));
    const std::uint32_t jumped = static_cast<std::uint32_t>(jump_share * moved);
    fill_words(words_.data(), 0, n_ * (d_ + 1) + 1, draw);
    x_ = y_;

    index_t moves = 0, jumps = 0;
    const std::uint32_t* word = words_.data();
    for (index_t i = 0; i < n_; ++i, word += d_ + 1) {
        const index_t forced = scale_word(word[d_], static_cast<std::uint32_t>(d_));
        for (index_t k = 0; k < d_; ++k) {
            if (word[k] >= moved && k != forced) continue;
            // The forced coordinate's word is uniform over its whole range, the others' below
            // `moved`.
            const bool jump = k == forced ? word[k] < jump_share * two_to_32 : word[k] < jumped;
            moves_[moves++] = {i, k, jump};
            jumps += jump;
        }
    }
    fill_normal(normals_.data(), 0, moves - jumps, normal);
    fill_uniform(jumps_.data(), 0, jumps, uniform);

    const double* c = consensus();
    index_t other = scale_word(words_[n_ * (d_ + 1)], static_cast<std::uint32_t>(n_ - 1));
    if (other >= leader_) ++other;
    const double *jump = jumps_.data(), *partner = &y_[other * d_];
    const float* z = normals_.data();
    for (index_t m = 0; m < moves; ++m) {
        const auto [i, k, jumps_now] = moves_[m];
        double& x = x_[i * d_ + k];
        if (jumps_now) {
            x = *jump++;
        } else {
            const double distance =
                i == leader_ ? leader_noise * std::abs(partner[k] - c[k]) : std::abs(x - c[k]);
            x = c[k] + distance * *z++;
            if (!(x >= 0 && x <= 1)) reflect(&x, 1);
        }
    }
}

void Swarm::accept(const double* f) {
    for (index_t i = 0; i < n_; ++i) {
        if (!(f[i] <= f_[i])) continue;
        f_[i] = f[i];
        std::copy(&x_[i * d_], &x_[i * d_] + d_, &y_[i * d_]);
    }
    fresh_ = false;
    leader_ = std::min_element(f_.begin(), f_.end()) - f_.begin();
    measure();
}

void Swarm::replace_leader(const double* u, double f) {
    if (!(f <= f_[leader_])) return;
    f_[leader_] = f;
    std::copy(u, u + d_, &y_[leader_ * d_]);
    measure();
}

// The largest standard deviation of a coordinate, from sums about the consensus.
void Swarm::measure() {
    const double* c = consensus();
    std::fill(sum_.begin(), sum_.end(), 0.0);
    std::fill(squares_.begin(), squares_.end(), 0.0);
    for (index_t i = 0; i < n_; ++i) {
        const double* y = &y_[i * d_];
        for (index_t k = 0; k < d_; ++k) {
            const double distance = y[k] - c[k];
            sum_[k] += distance;
            squares_[k] += distance * distance;
        }
    }
    const double n = static_cast<double>(n_);
    double largest = 0;
    for (index_t k = 0; k < d_; ++k)
        largest = std::max(largest, (squares_[k] - sum_[k] * sum_[k] / n) / n);
    spread_ = std::sqrt(largest);
}

} // namespace fastopt
