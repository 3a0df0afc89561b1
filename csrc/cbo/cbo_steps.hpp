// What each line of the plain dynamics' loop does to all particles: the kernel seam. Defined by
// cbo_steps.cpp, which cuts rows into blocks for the thread pool, and by csrc/kernels.cu; the
// backend is chosen at link time. Pointers to particles and their values point where the kernels
// run (backend/queue.hpp); counts, scalars and what is returned belong to the host.
//
// Both backends add in the same fixed order, so that they give the same bits, except where a
// vendor's algebra adds (covariance and correlated_move).
#pragma once

#include <memory>
#include <vector>

#include "backend/queue.hpp"
#include "cbo/cbo_kernels.hpp"
#include "cbo/shares.hpp"

namespace fastopt {

// Rows of one partial sum, on every backend: they decide who adds first.
inline index_t rows_of_block(index_t d) {
    constexpr index_t coordinates = 16384; // of a block of work
    constexpr index_t least = 64;          // keeps the partial sums small beside the particles
    return std::max(least, coordinates / d);
}

template <class T> class CboSteps {
  public:
    CboSteps(std::shared_ptr<Queue> queue, index_t n, index_t d, int threads);

    // out_r = x_{rows[r]} for r < n; the coordinates with integer[k] != 0 rounded (nullptr: none).
    void gather(const T* x, const index_t* rows, index_t n, const char* integer, const T* lower,
                const T* upper, T* out);
    // to[rows[r]] = from[r].
    void scatter(const double* from, const index_t* rows, index_t n, double* to);

    struct Best {
        double violation, f;
        index_t row;
    };
    // NaN becomes inf in f and v (nullptr: no constraints); the first among the best rows: least
    // violation, then least f.
    Best tidy(double* f, double* v, index_t n);

    // e_r = f_i + penalty v_i, i = rows[r]; NaN becomes inf.
    void energies(const double* f, const double* v, const index_t* rows, index_t n, double penalty,
                  double* e);
    // y_i <- x_i, y_f_i <- f_i, y_v_i <- v_i where better, i = rows[r].
    void remember(const T* x, const double* f, const double* v, const index_t* rows, index_t n,
                  double penalty, T* y, double* y_f, double* y_v);

    struct Spread {
        double least, above, square; // min e, sum (e - min e), sum (e - min e)^2
    };
    Spread spread(const double* e, index_t n);
    // alpha with (sum w)^2 / sum w^2 = target, searched from the last one.
    double choose_alpha(const double* e, index_t n, double e_min, double alpha, double target);
    void gibbs(const double* e, index_t n, double alpha, double e_min, double* w);
    // c = sum_r w_r x_{rows[r]} / sum_r w_r, on the host; n, w and x are of the rows held here.
    void weighted_mean(const T* x, const index_t* rows, index_t n, const double* w,
                       const Shares& shares, double* c);

    // The rules of cbo_kernels.hpp for all n rows (particles rows[r] where m.rows).
    void move(const Move<T>& m, index_t n);
    void hop(const Move<T>& m, const T* step, index_t n);
    // x_i <- x_i - drift (x_i - c_i) + diffusion L xi_i.
    void correlated_move(const Move<T>& m, const T* factor, index_t n);
    // Lower triangle of sum_i w_i (x_i - c)(x_i - c)', d x d.
    void covariance(const double* w, const T* x, const T* c, index_t n, T* lower_triangle);

    // c_i for each of n particles, and memberships of m clusters: see cbo_kernels.hpp.
    void polarize(const T* x, const double* e, index_t n, double alpha, double e_min,
                  const T* inverse_width, T* centers);
    void responsibility(const T* x, const T* c, index_t n, index_t m, const T* inverse_width,
                        double* p);

  private:
    template <class F> void for_rows(index_t rows, F f) const; // f(block, first row, last row + 1)

    std::shared_ptr<Queue> queue_;
    const index_t n_, d_;
    const int threads_;
    const index_t block_rows_;
    Array<double> partial_; // sums of blocks: n_blocks x (d + 1)
    Array<double> reach_;   // polarize: exponents
    Array<double> report_;  // numbers on their way to the host
    Array<Best> best_;      // of each block
    Array<double> mean_;
    Array<T> xi_, eta_; // correlated noise
    Array<T> scale_;    // isotropic noise: min(||D||, truncation) of each row, twice
};

// f_i = f(R (x_i - shift)) where the kernels run; `scratch` holds n d numbers if there is a shift
// or a rotation.
template <class T>
void evaluate_resident(Queue& queue, ObjectiveId id, const T* x, index_t n, index_t d,
                       const T* shift, const T* rotation, T* scratch, double* f);

} // namespace fastopt
