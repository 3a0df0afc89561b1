#include "admm_relu/gates.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "admm_relu/pause.hpp"
#include "backend/backend.hpp"
#include "core/clock.hpp"
#include "core/parallel.hpp"
#include "core/random.hpp"

namespace fastopt {
namespace {

constexpr index_t batch = 64;
constexpr index_t row_tile = 2048; // samples: Ctrl-C is seen between tiles
constexpr int ascent_steps = 50;

using Pattern = std::vector<std::uint64_t>;

Pattern pattern_of(index_t n, const double* xh) {
    Pattern bits(static_cast<std::size_t>((n + 63) / 64));
    for (index_t j = 0; j < n; ++j)
        if (xh[j] >= 0) bits[j / 64] |= std::uint64_t(1) << (j % 64);
    return bits;
}

bool empty(const Pattern& bits) {
    return std::all_of(bits.begin(), bits.end(), [](std::uint64_t word) { return word == 0; });
}

// out (w, n) = H X' for w rows of H.
void products(index_t n, index_t d, const double* x, index_t w, const double* h, double* out,
              int threads) {
    parallel_for((n + row_tile - 1) / row_tile, threads, [&](index_t t) {
        const index_t first = t * row_tile;
        gemm(false, true, w, std::min(row_tile, n - first), d, 1.0, h, d, x + first * d, d, 0.0,
             out + first, n);
    });
}

// The patterns of up to `batch` directions (w, d); xh (batch, n) is work space.
std::vector<Pattern> patterns_of_batch(index_t n, index_t d, const double* x, index_t w,
                                       const double* h, double* xh, int threads) {
    products(n, d, x, w, h, xh, threads);
    std::vector<Pattern> bits(static_cast<std::size_t>(w));
    parallel_for(w, threads, [&](index_t i) { bits[i] = pattern_of(n, xh + i * n); });
    return bits;
}

// Tells patterns on the samples of all ranks apart: a pattern's number on a rank is that of its
// part there, in the order of their first coming, and the numbers of all ranks together name it.
class PatternBook {
  public:
    explicit PatternBook(Communicator* comm) : comm_(comm) {}
    // Of each pattern whether it is new and holds a sample.
    std::vector<bool> are_new(std::vector<Pattern> parts) {
        const auto count = static_cast<index_t>(parts.size());
        std::vector<double> mine;
        for (Pattern& part : parts) {
            const bool none = empty(part);
            const auto next = static_cast<double>(numbers_.size() + 1);
            mine.push_back(none ? 0.0 : numbers_.emplace(std::move(part), next).first->second);
        }
        const index_t ranks = comm_ ? comm_->size() : 1;
        std::vector<double> all(mine);
        all.resize(static_cast<std::size_t>(ranks * count));
        if (comm_) comm_->allgather(mine.data(), count, all.data());
        std::vector<bool> fresh;
        std::vector<double> name(static_cast<std::size_t>(ranks));
        for (index_t i = 0; i < count; ++i) {
            for (index_t rank = 0; rank < ranks; ++rank) name[rank] = all[rank * count + i];
            const bool none = std::count(name.begin(), name.end(), 0.0) == ranks;
            fresh.push_back(!none && names_.insert(name).second);
        }
        return fresh;
    }

  private:
    Communicator* comm_;
    std::map<Pattern, double> numbers_;
    std::set<std::vector<double>> names_;
};

std::set<Pattern> patterns_of(index_t n, index_t d, const double* x, const std::vector<double>& h,
                              int threads) {
    std::set<Pattern> seen;
    const index_t p = static_cast<index_t>(h.size()) / d;
    std::vector<double> xh(static_cast<std::size_t>(std::min(batch, p) * n));
    for (index_t i = 0; i < p; i += batch)
        for (Pattern& bits : patterns_of_batch(n, d, x, std::min(batch, p - i), h.data() + i * d,
                                               xh.data(), threads))
            seen.insert(std::move(bits));
    return seen;
}

} // namespace

std::vector<double> sample_gates(index_t n, index_t d, const double* x, index_t n_gates, Key key,
                                 std::uint32_t stream, const std::vector<double>& known,
                                 int threads, Communicator* comm) {
    PatternBook book(comm);
    for (const Pattern& bits : patterns_of(n, d, x, known, threads)) book.are_new({bits});
    std::vector<double> gates, h(static_cast<std::size_t>(batch * d)),
        xh(static_cast<std::size_t>(batch * n));
    const index_t patience = std::max<index_t>(1000, 10 * n_gates);
    index_t found = 0, barren = 0;
    for (std::uint64_t first = 0; found < n_gates && barren < patience; first += batch) {
        fill_normal(h.data(), first * static_cast<std::uint64_t>(d), batch * d, {key, 0, stream});
        const std::vector<bool> fresh =
            book.are_new(patterns_of_batch(n, d, x, batch, h.data(), xh.data(), threads));
        for (index_t i = 0; i < batch && found < n_gates; ++i) {
            ++barren;
            if (!fresh[i]) continue;
            gates.insert(gates.end(), h.begin() + i * d, h.begin() + (i + 1) * d);
            ++found;
            barren = 0;
        }
    }
    return gates;
}

std::vector<double> gate_patterns(index_t n, index_t d, const double* x,
                                  const std::vector<double>& gates, int threads) {
    const index_t p = static_cast<index_t>(gates.size()) / d;
    std::vector<double> out(static_cast<std::size_t>(checked_product(p, n)));
    for (index_t i = 0; i < p; i += batch)
        products(n, d, x, std::min(batch, p - i), gates.data() + i * d, out.data() + i * n,
                 threads);
    parallel_for(p, threads, [&](index_t i) {
        for (index_t j = i * n; j < (i + 1) * n; ++j) out[j] = out[j] >= 0 ? 1.0 : 0.0;
    });
    return out;
}

std::vector<double> ascend_gates(index_t n, index_t d, index_t c, const double* x, const double* t,
                                 const std::vector<double>& starts,
                                 const std::vector<double>& known, int threads, double maxtime) {
    const Clock clock(maxtime);
    Pause pause;
    const index_t m = static_cast<index_t>(starts.size()) / d, all = m * c * 2;
    std::vector<double> ends(static_cast<std::size_t>(all * d)),
        value(static_cast<std::size_t>(all));
    std::vector<Pattern> bits(static_cast<std::size_t>(all));
    parallel_for(all, threads, [&](index_t a) {
        if (pause.ended()) return;
        const double sign = a % 2 ? -1 : 1;
        const double* tk = t + a / 2 % c * n;
        const double* from = starts.data() + a / (2 * c) * d;
        double* u = ends.data() + a * d;
        std::vector<double> xu(static_cast<std::size_t>(n)), q(xu.size()), trial(from, from + d),
            g(trial);
        // Normalises w, then f(w) = sign t'(X w)_+; xu holds X w.
        const auto evaluate = [&](std::vector<double>& w) {
            const double length = std::sqrt(dot(d, w.data(), w.data()));
            if (!(length > 0)) return -1.0;
            for (double& x_k : w) x_k /= length;
            gemm(false, true, 1, n, d, 1.0, w.data(), d, x, d, 0.0, xu.data(), n);
            double f = 0;
            for (index_t j = 0; j < n; ++j) f += xu[j] > 0 ? sign * tk[j] * xu[j] : 0.0;
            return f;
        };
        value[a] = evaluate(trial);
        for (int step = 0; step < ascent_steps; ++step) {
            if (clock.over()) pause.end();
            if (step > 0 && pause()) break;
            std::copy(trial.begin(), trial.end(), u);
            bits[a] = pattern_of(n, xu.data());
            for (index_t j = 0; j < n; ++j) q[j] = xu[j] >= 0 ? sign * tk[j] : 0.0;
            gemm(false, false, 1, d, n, 1.0, q.data(), n, x, d, 0.0, g.data(), d);
            const double length = std::sqrt(dot(d, g.data(), g.data()));
            bool rose = false;
            trial = g; // the best u of this gate; shorter steps when another gate spoils it
            for (double t_k = 1; length > 0 && !rose && t_k > 0.01; t_k *= 0.5) {
                const double f = evaluate(trial);
                if (f > value[a] * (1 + 1e-9) + 1e-300) {
                    value[a] = f, rose = true;
                } else {
                    for (index_t k = 0; k < d; ++k) trial[k] = u[k] + t_k * g[k] / length;
                }
            }
            if (!rose) break;
        }
    });
    std::vector<index_t> order(static_cast<std::size_t>(all));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](index_t a, index_t b) { return value[a] > value[b]; });
    const std::set<Pattern> old = patterns_of(n, d, x, known, threads);
    std::set<Pattern> seen;
    std::vector<double> out;
    for (const index_t a : order) {
        if (!(value[a] > 0)) break;
        if (empty(bits[a]) || !seen.insert(bits[a]).second) continue;
        out.push_back(value[a]);
        out.push_back(static_cast<double>(old.count(bits[a])));
        out.insert(out.end(), ends.begin() + a * d, ends.begin() + (a + 1) * d);
    }
    return out;
}

} // namespace fastopt
