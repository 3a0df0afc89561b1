// Whose particles are whose, when several processes run one ensemble (core/communicator.hpp).
//
// divided: every rank holds, evaluates and moves a share of the rows. A share is made of whole
//     blocks, so that each partial sum is one rank's, and all ranks add them in the order in which
//     a process alone does.
// whole: every rank holds all rows and does the same with them, but evaluates its part only. So it
//     is where particles meet in more than the consensus, or are too few to be divided evenly.
//
// Without a communicator everything is this process's own, and nothing is exchanged.
#pragma once

#include <algorithm>
#include <vector>

#include "backend/queue.hpp"
#include "core/communicator.hpp"
#include "core/interfaces.hpp"

namespace fastopt {

class Shares {
  public:
    explicit Shares(Communicator* comm) : comm_(comm) {} // whole, of any number of points
    // Of n rows that lie in blocks of `block_rows`.
    Shares(Communicator* comm, index_t n, index_t block_rows, bool divisible);

    bool divided() const { return block_rows_ > 0; }
    Share held() const { return held_; } // rows whose coordinates are stored here
    bool first() const { return !comm_ || comm_->rank() == 0; }
    bool all(bool told) const { return !any_rank(comm_, !told); } // whether every rank says so

    // f and v (nullptr: no constraints) of n points, each evaluated by one rank; `points` are the
    // rows held.
    template <class T>
    void evaluate(Objective<T>& objective, T* points, index_t n, index_t d, double* f,
                  double* v) const {
        const Share mine = part(n);
        if (mine.count() > 0)
            objective.evaluate(points + (mine.begin - held_.begin) * d, mine.count(),
                               f + mine.begin, v ? v + mine.begin : nullptr);
        gather(f, n);
        if (v) gather(v, n);
    }
    // g of the rows held.
    template <class T>
    void evaluate(Gradient<T>& gradient, T* points, index_t n, index_t d, T* g) const {
        if (divided() || !comm_) return gradient.evaluate(points, held_.count(), g);
        const Share mine = part(n);
        if (mine.count() > 0)
            gradient.evaluate(points + mine.begin * d, mine.count(), g + mine.begin * d);
        std::vector<double> numbers(g, g + n * d);
        gather(numbers.data(), n, d);
        std::transform(numbers.begin(), numbers.end(), g,
                       [](double number) { return static_cast<T>(number); });
    }

    // Rows of `width` numbers for n points: each rank brings its part, and gets those of the
    // others.
    void gather(double* rows, index_t n, index_t width = 1) const;
    // sums = the partial sums of all blocks, added in their order; `partial` holds the n_blocks of
    // the rows held, `width` numbers each.
    void add_blocks(const double* partial, index_t n_blocks, index_t width, double* sums) const;
    // x = row i of d numbers, which the rank that holds it has put there.
    void send_row(index_t i, double* x, index_t d) const;

  private:
    Share part(index_t n) const { return comm_ ? part(n, comm_->rank()) : Share{0, n}; }
    Share part(index_t n, int rank) const;
    Share blocks(int rank) const { return share_of(n_blocks_, rank, comm_->size()); }
    template <class F> void exchange(const double* mine, index_t width, F share, double* all) const;

    Communicator* comm_;
    index_t n_ = 0, block_rows_ = 0, n_blocks_ = 0;
    Share held_{0, 0};
    mutable std::vector<double> sent_, received_, mine_, all_; // new memory would cost page faults
};

// All n rows of an array of which each rank holds some, for a snapshot: rank 0 gathers them, and
// when one is read, every rank takes its own.
template <class T> class WholeRows {
  public:
    WholeRows(const Array<T>& own, const Shares& shares, index_t n, index_t d, bool wanted)
        : own_(own), shares_(shares), n_(n), d_(d), divided_(shares.divided() && own.size() > 0) {
        if (divided_ && wanted) whole_ = Buffer<T>(n * d);
    }
    index_t size() const { return divided_ ? whole_.size() : own_.size(); }
    T* mirror() { return divided_ ? whole_.data() : own_.mirror(); }
    void send() {
        const Share held = shares_.held();
        if (divided_) std::copy_n(whole_.data() + held.begin * d_, own_.size(), own_.mirror());
        own_.send();
    }
    const T* fetch() const {
        if (!divided_) return own_.fetch();
        const Share held = shares_.held();
        const index_t most = std::max<index_t>(1, (index_t{1} << 20) / n_); // columns at a time
        std::vector<double> columns;
        for (index_t k = 0; k < d_; k += most) {
            const index_t width = std::min(most, d_ - k);
            columns.assign(n_ * width, 0.0);
            for (index_t i = held.begin; i < held.end; ++i)
                for (index_t j = 0; j < width; ++j)
                    columns[i * width + j] =
                        static_cast<double>(own_.data()[(i - held.begin) * d_ + k + j]);
            shares_.gather(columns.data(), n_, width);
            for (index_t i = 0; whole_.size() > 0 && i < n_; ++i)
                for (index_t j = 0; j < width; ++j)
                    whole_[i * d_ + k + j] = static_cast<T>(columns[i * width + j]);
        }
        return whole_.data();
    }

  private:
    const Array<T>& own_;
    const Shares& shares_;
    index_t n_, d_;
    bool divided_;
    mutable Buffer<T> whole_;
};

} // namespace fastopt
