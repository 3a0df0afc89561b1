// Several ranks, here threads of one process: what each holds, and the bits of a run on one.
#include "cbo/shares.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <vector>

#include "cbo/cbo.hpp"

using namespace fastopt;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();

// Exchanges between threads: all write, all read, all leave.
class Meeting {
  public:
    explicit Meeting(int size) : size_(size), places_(size) {}
    std::vector<std::vector<double>> exchange(int rank, const double* mine, index_t n) {
        places_[rank].assign(mine, mine + n);
        wait();
        const auto all = places_;
        wait();
        return all;
    }
    const int size_;

  private:
    void wait() {
        std::unique_lock<std::mutex> lock(mutex_);
        const int now = round_;
        if (++arrived_ == size_) {
            arrived_ = 0, ++round_;
            changed_.notify_all();
        }
        changed_.wait(lock, [&] { return round_ != now; });
    }
    std::vector<std::vector<double>> places_;
    std::mutex mutex_;
    std::condition_variable changed_;
    int arrived_ = 0, round_ = 0;
};

class ThreadRank final : public Communicator {
  public:
    ThreadRank(Meeting& meeting, int rank) : meeting_(meeting), rank_(rank) {}
    int rank() const override { return rank_; }
    int size() const override { return meeting_.size_; }
    void allgather(const double* mine, index_t n, double* all) override {
        for (const auto& part : meeting_.exchange(rank_, mine, n))
            all = std::copy(part.begin(), part.end(), all);
    }
    void allreduce(double* x, index_t n) override {
        const auto parts = meeting_.exchange(rank_, x, n);
        for (index_t k = 0; k < n; ++k) {
            x[k] = 0;
            for (const auto& part : parts) x[k] += part[k];
        }
    }

  private:
    Meeting& meeting_;
    int rank_;
};

void on_ranks(int size, const std::function<void(Communicator&)>& body) {
    Meeting meeting(size);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size; ++rank)
        threads.emplace_back([&, rank] {
            ThreadRank comm(meeting, rank);
            body(comm);
        });
    for (std::thread& thread : threads) thread.join();
}

template <class T> class Waves final : public Objective<T> {
  public:
    Waves(index_t d, bool preserves, bool constrained)
        : d_(d), preserves_(preserves), constrained_(constrained) {}
    void evaluate(T* x, index_t n, double* f, double* violation) override {
        for (index_t i = 0; i < n; ++i, x += d_) {
            f[i] = 0;
            for (index_t k = 0; k < d_; ++k) {
                const double t = static_cast<double>(x[k]) - 0.4;
                f[i] += t * t + 1 - std::cos(9 * t);
            }
            if (constrained_) violation[i] = std::max(0.0, static_cast<double>(x[0]));
            if (!preserves_) x[0] = T(7);
        }
        points += n;
    }
    bool constrained() const override { return constrained_; }
    bool preserves_points() const override { return preserves_; }
    index_t points = 0;

  private:
    index_t d_;
    bool preserves_, constrained_;
};

struct Case {
    const char* name;
    CboOptions options;
    index_t d;
    bool constrained = false, preserves = true;
};

std::vector<Case> cases() {
    CboOptions o;
    o.n_particles = 640, o.maxiter = 6, o.key = {5, 6}, o.threads = 2;
    std::vector<Case> all;
    const auto add = [&](const char* name, Dynamics dynamics, Noise noise, index_t d) -> Case& {
        all.push_back({name, o, d});
        all.back().options.dynamics = dynamics, all.back().options.noise = noise;
        return all.back();
    };
    // Blocks of 64 particles in 260 dimensions: these are divided.
    add("anisotropic", Dynamics::standard, Noise::anisotropic, 260);
    add("isotropic", Dynamics::standard, Noise::isotropic, 260).preserves = false;
    add("memory", Dynamics::memory, Noise::anisotropic, 260).constrained = true;
    add("hopping", Dynamics::hopping, Noise::anisotropic, 260);
    // These are not.
    add("few", Dynamics::memory, Noise::isotropic, 3);
    add("covariance", Dynamics::standard, Noise::covariance, 4);
    add("sampling", Dynamics::sampling, Noise::anisotropic, 4);
    add("polarized", Dynamics::polarized, Noise::anisotropic, 4);
    add("clusters", Dynamics::polarized, Noise::anisotropic, 4).options.n_minimizers = 2;
    add("batches", Dynamics::standard, Noise::anisotropic, 260).options.batch_size = 90;
    add("hybrid", Dynamics::hybrid, Noise::anisotropic, 4).constrained = true;
    return all;
}

template <class T> struct Run {
    CboResult<T> result;
    index_t points;
    Snapshot state;
};

class Keep final : public Monitor {
  public:
    bool stop(const Record& r) override {
        if (r.nit == 3) state = (*r.snapshot)();
        return false;
    }
    Snapshot state;
};

template <class T> Run<T> solved(const Case& c, Communicator* comm, const Snapshot* resume) {
    Waves<T> objective(c.d, c.preserves, c.constrained);
    Keep keep;
    CboProblem<T> p;
    p.objective = &objective, p.monitor = &keep, p.comm = comm;
    p.lower.assign(c.d, -1), p.upper.assign(c.d, 2), p.x0.assign(c.d, 1.5);
    CboResult<T> result = solve_cbo(p, c.options, resume);
    return {std::move(result), objective.points, std::move(keep.state)};
}

} // namespace

TEST_CASE("shares are contiguous and even, or whole") {
    for (const int size : {1, 2, 3, 7})
        on_ranks(size, [&](Communicator& comm) {
            const Shares divided(&comm, 1000, 64, true);
            const Share held = divided.held();
            const bool fits = size < 7; // 16 blocks: 3 for some of 7 ranks are too uneven
            if (divided.divided() != fits) throw std::logic_error("divided");
            if (fits && (held.begin % 64 != 0 || held.count() > 1.25 * 1000 / size))
                throw std::logic_error("uneven");
            if (!fits && held.count() != 1000) throw std::logic_error("not whole");
            if (Shares(&comm, 1000, 64, false).divided()) throw std::logic_error("divisible");
            if (Shares(&comm, 64 * size - 64, 64, true).divided() && size > 1)
                throw std::logic_error("a rank without a block");
        });
    const Shares alone(nullptr, 1000, 64, true);
    CHECK_FALSE(alone.divided());
    CHECK(alone.held().count() == 1000);
    CHECK(alone.first());
    CHECK(alone.all(true));
    CHECK_FALSE(alone.all(false));
}

TEST_CASE("a broadcast keeps every bit") {
    const std::vector<double> numbers = {-0.0, inf, -inf, 5e-324, 1.0 / 3, -1e308, 0.0};
    for (int from = 0; from < 3; ++from) {
        std::vector<std::vector<double>> got(3, std::vector<double>(numbers.size(), 3.25));
        on_ranks(3, [&](Communicator& comm) {
            std::vector<double>& mine = got[comm.rank()];
            if (comm.rank() == from) mine = numbers;
            broadcast(comm, from, mine.data(), static_cast<index_t>(mine.size()));
        });
        for (const auto& one : got)
            CHECK(std::memcmp(one.data(), numbers.data(), numbers.size() * sizeof(double)) == 0);
    }
}

TEST_CASE_TEMPLATE("the bits of one rank on two and three, and of a run resumed on another number",
                   T, double, float) {
    for (const Case& c : cases()) {
        CAPTURE(c.name);
        const Run<T> alone = solved<T>(c, nullptr, nullptr);
        for (const int size : {2, 3}) {
            CAPTURE(size);
            for (const bool resumed : {false, true}) {
                std::vector<Run<T>> runs(size);
                on_ranks(size, [&](Communicator& comm) {
                    runs[comm.rank()] = solved<T>(c, &comm, resumed ? &alone.state : nullptr);
                });
                index_t points = 0;
                for (const Run<T>& run : runs) {
                    const CboResult<T>&r = run.result, &one = alone.result;
                    CHECK(r.x == one.x);
                    CHECK(r.fun == one.fun);
                    CHECK(r.violation == one.violation);
                    CHECK(r.nfev == one.nfev);
                    CHECK(r.nit == one.nit);
                    CHECK(r.consensus == one.consensus);
                    const index_t from = r.first_row * c.d;
                    CHECK(std::equal(r.population.data(), r.population.data() + r.population.size(),
                                     one.population.data() + from));
                    const bool wide = c.d == 260 && c.options.batch_size == 0;
                    CHECK((r.population.size() < one.population.size()) == wide);
                    points += run.points;
                }
                if (resumed) continue;
                CHECK(points == alone.points);
                CHECK(runs[0].state.reals == alone.state.reals);
                CHECK(runs[0].state.integers == alone.state.integers);
            }
        }
    }
}
