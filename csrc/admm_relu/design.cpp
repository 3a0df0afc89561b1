#include "admm_relu/design.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.hpp"
#include "core/parallel.hpp"

namespace fastopt {
namespace {

constexpr index_t row_tile = 256;
constexpr index_t gate_tile = 16;
constexpr index_t column_tile = 512;
constexpr index_t gram_tile = 256;
constexpr index_t largest_inverse = 4096; // beyond: triangular solves, to save 2/3 n^3 flops
constexpr index_t flat_tile = 16384;
constexpr index_t row_chunk = 32768; // rows of a Gram tile between two looks for Ctrl-C
constexpr double long_block = 1e9;   // flops of a gate's Gram matrix that deserves tiles

index_t tiles(index_t n, index_t nb) { return (n + nb - 1) / nb; }

template <class F> void flat(index_t n, int threads, F f) {
    parallel_for(tiles(n, flat_tile), threads,
                 [&](index_t b) { f(b * flat_tile, std::min(n, (b + 1) * flat_tile)); });
}

} // namespace

template <class T>
Design<T>::Design(index_t n, index_t d, index_t n_gates, index_t c, const T* x, const T* gates,
                  int threads)
    : n_(n), d_(d), p_(n_gates), c_(c), x_(x), gates_(gates), threads_(threads),
      work_(d == 1 ? c * n : checked_product(checked_product(c, n_gates), n)) {}

template <class T> void Design<T>::forward(const T* e, T* z) {
    const index_t rows = c_ * p_;
    if (d_ == 1) { // z_kj = x_j (e_k'D)_j
        parallel_for(tiles(n_, row_tile), threads_, [&](index_t b) {
            const index_t first = b * row_tile, w = std::min(row_tile, n_ - first);
            gemm(false, false, c_, w, p_, T(1), e, p_, gates_ + first, n_, T(0), z + first, n_);
            for (index_t k = 0; k < c_; ++k)
                for (index_t j = first; j < first + w; ++j) z[k * n_ + j] *= x_[j];
        });
        return;
    }
    parallel_for(tiles(n_, row_tile), threads_, [&](index_t b) {
        const index_t first = b * row_tile, w = std::min(row_tile, n_ - first);
        T* tile = work_.data() + first * rows; // (c P, w)
        gemm(false, true, rows, w, d_, T(1), e, d_, x_ + first * d_, d_, T(0), tile, w);
        for (index_t k = 0; k < c_; ++k) {
            T* out = z + k * n_ + first;
            std::fill(out, out + w, T(0));
            for (index_t i = 0; i < p_; ++i) {
                const T* FASTOPT_RESTRICT gate = gates_ + i * n_ + first;
                const T* FASTOPT_RESTRICT from = tile + (k * p_ + i) * w;
                for (index_t j = 0; j < w; ++j) out[j] += gate[j] * from[j];
            }
        }
    });
}

template <class T> void Design<T>::adjoint(const T* q, T* g) {
    const index_t rows = c_ * p_;
    if (d_ == 1) { // g_k = D (x o q_k)
        parallel_for(c_, threads_, [&](index_t k) {
            for (index_t j = 0; j < n_; ++j) work_[k * n_ + j] = x_[j] * q[k * n_ + j];
        });
        parallel_for(tiles(p_, gate_tile), threads_, [&](index_t b) {
            const index_t first = b * gate_tile, w = std::min(gate_tile, p_ - first);
            gemm(false, true, c_, w, n_, T(1), work_.data(), n_, gates_ + first * n_, n_, T(0),
                 g + first, p_);
        });
        return;
    }
    const index_t nr = tiles(rows, gate_tile), nc = tiles(d_, column_tile);
    parallel_for(nr, threads_, [&](index_t b) {
        for (index_t r = b * gate_tile; r < std::min(rows, (b + 1) * gate_tile); ++r) {
            const T* FASTOPT_RESTRICT gate = gates_ + r % p_ * n_;
            const T* FASTOPT_RESTRICT from = q + r / p_ * n_;
            T* FASTOPT_RESTRICT out = work_.data() + r * n_;
            for (index_t j = 0; j < n_; ++j) out[j] = gate[j] * from[j];
        }
        if (nc > 1) return;
        const index_t r0 = b * gate_tile, w = std::min(gate_tile, rows - r0);
        gemm(false, false, w, d_, n_, T(1), work_.data() + r0 * n_, n_, x_, d_, T(0), g + r0 * d_,
             d_);
    });
    if (nc == 1) return;
    parallel_for(nc, threads_, [&](index_t b) {
        const index_t c0 = b * column_tile, wc = std::min(column_tile, d_ - c0);
        gemm(false, false, rows, wc, n_, T(1), work_.data(), n_, x_ + c0, d_, T(0), g + c0, d_);
    });
}

template <class T> void Design<T>::gram_rows(T* h, T* diagonal) const {
    const index_t nt = tiles(n_, gram_tile);
    parallel_for(nt * nt, threads_, [&](index_t b) {
        const index_t i = b / nt, j = b % nt;
        if (i > j) return;
        const index_t i0 = i * gram_tile, j0 = j * gram_tile;
        const index_t wi = std::min(gram_tile, n_ - i0), wj = std::min(gram_tile, n_ - j0);
        std::vector<T> xx(static_cast<std::size_t>(wi * wj)), dd(xx.size());
        gemm(false, true, wi, wj, d_, T(1), x_ + i0 * d_, d_, x_ + j0 * d_, d_, T(0), xx.data(),
             wj);
        gemm(true, false, wi, wj, p_, T(1), gates_ + i0, n_, gates_ + j0, n_, T(0), dd.data(), wj);
        for (index_t r = 0; r < wi; ++r)
            for (index_t s = i == j ? r : 0; s < wj; ++s) {
                const T value = xx[r * wj + s] * dd[r * wj + s];
                (i0 + r == j0 + s ? diagonal[i0 + r] : h[(i0 + r) * n_ + j0 + s]) = value;
            }
    });
}

template <class T> void Design<T>::gram_columns(T* h, T* diagonal) const {
    const index_t group = std::max<index_t>(1, gram_tile / d_), ng = tiles(p_, group);
    const index_t size = p_ * d_;
    // Rows r0 .. r0 + m of the columns of F that belong to gates g0 .. g0 + w.
    const auto columns = [&](index_t g0, index_t w, index_t r0, index_t m, T* out) {
        for (index_t r = 0; r < m; ++r)
            for (index_t g = 0; g < w; ++g) {
                const T gate = gates_[(g0 + g) * n_ + r0 + r];
                const T* row = x_ + (r0 + r) * d_;
                T* to = out + (r * w + g) * d_;
                for (index_t k = 0; k < d_; ++k) to[k] = gate * row[k];
            }
    };
    const index_t nr = tiles(n_, row_chunk);
    for (index_t chunk = 0; chunk < nr; ++chunk)
        parallel_for(ng * ng, threads_, [&](index_t b) {
            const index_t i = b / ng, j = b % ng;
            if (i > j) return;
            const index_t gi = i * group, gj = j * group;
            const index_t wi = std::min(group, p_ - gi), wj = std::min(group, p_ - gj);
            const index_t mi = wi * d_, mj = wj * d_;
            std::vector<T> left(static_cast<std::size_t>(row_tile * mi));
            std::vector<T> right(static_cast<std::size_t>(row_tile * mj));
            std::vector<T> sum(static_cast<std::size_t>(mi * mj));
            const index_t begin = chunk * row_chunk, end = std::min(n_, begin + row_chunk);
            for (index_t r0 = begin; r0 < end; r0 += row_tile) {
                const index_t m = std::min(row_tile, end - r0);
                columns(gi, wi, r0, m, left.data());
                columns(gj, wj, r0, m, right.data());
                gemm(true, false, mi, mj, m, T(1), left.data(), mi, right.data(), mj, T(r0 > begin),
                     sum.data(), mj);
            }
            for (index_t r = 0; r < mi; ++r)
                for (index_t s = i == j ? r : 0; s < mj; ++s) {
                    const index_t row = gi * d_ + r, col = gj * d_ + s;
                    T& to = row == col ? diagonal[row] : h[row * size + col];
                    to = chunk == 0 ? sum[r * mj + s] : to + sum[r * mj + s];
                }
        });
}

template <class T> void Design<T>::gate_gram(index_t gate, T scale, T shift, T* h) const {
    // Tiles of the lower triangle in parallel when the matrix is large, else as one.
    const index_t width = long_gate() ? gram_tile : d_, nt = tiles(d_, width);
    std::fill(h, h + d_ * d_, T(0));
    for (index_t c0 = 0; c0 < n_; c0 += row_chunk)
        parallel_for(nt * nt, threads_, [&](index_t b) {
            const index_t i0 = b / nt * width, j0 = b % nt * width;
            if (i0 < j0) return;
            const index_t wi = std::min(width, d_ - i0), wj = std::min(width, d_ - j0);
            std::vector<T> rows(static_cast<std::size_t>(row_tile * wi));
            for (index_t r0 = c0; r0 < std::min(n_, c0 + row_chunk); r0 += row_tile) {
                const index_t m = std::min({row_tile, n_ - r0, c0 + row_chunk - r0});
                for (index_t r = 0; r < m; ++r)
                    for (index_t k = 0; k < wi; ++k)
                        rows[r * wi + k] = gates_[gate * n_ + r0 + r] * x_[(r0 + r) * d_ + i0 + k];
                if (nt == 1) // D X = D D X, so D on one side will do for the other tiles
                    syrk(d_, m, scale, rows.data(), d_, T(1), h, d_);
                else
                    gemm(true, false, wi, wj, m, scale, rows.data(), wi, x_ + r0 * d_ + j0, d_,
                         T(1), h + i0 * d_ + j0, d_);
            }
        });
    for (index_t k = 0; k < d_; ++k) h[k * d_ + k] += shift;
}

template <class T> bool Design<T>::long_gate() const {
    return static_cast<double>(n_) * d_ * d_ > long_block;
}

template <class T>
GraphProjection<T>::GraphProjection(Design<T>& design, int signs, index_t max_dense)
    : design_(design), signs_(signs) {
    const index_t n = design.n(), m = design.n_gates() * design.d(), c = design.c();
    size_ = std::min(n, m);
    form_ = size_ > max_dense ? Form::iterative : n <= m ? Form::rows : Form::columns;
    e_ = Buffer<T>(design.half()), g_ = Buffer<T>(design.half()), z_ = Buffer<T>(c * n);
    if (form_ != Form::rows) f_ = Buffer<T>(design.half()), target_ = Buffer<T>(design.half());
    if (form_ == Form::iterative) {
        delta_ = Buffer<T>(design.half());
        blocks_ = Buffer<T>(checked_product(m, design.d()));
        return;
    }
    explicit_inverse_ = size_ <= largest_inverse;
    matrix_ = Buffer<T>(checked_product(size_, size_));
    diagonal_ = Buffer<T>(size_);
    if (explicit_inverse_) product_ = SymmetricProduct<T>(size_, c);
    form_ == Form::rows ? design.gram_rows(matrix_.data(), diagonal_.data())
                        : design.gram_columns(matrix_.data(), diagonal_.data());
}

template <class T> void GraphProjection<T>::set(double gamma) {
    if (gamma == gamma_) return;
    gamma_ = gamma;
    factorise();
}

template <class T> void GraphProjection<T>::factorise() {
    ++factorisations_;
    const T s = static_cast<T>(signs_ * gamma_);
    const int threads = design_.threads();
    if (form_ == Form::iterative) {
        const index_t d = design_.d();
        const bool tiled = design_.long_gate(); // then a gate at a time, else gates in parallel
        const auto factor = [&](index_t i) {
            T* block = blocks_.data() + i * d * d;
            design_.gate_gram(i, s, T(1), block);
            if (!(tiled ? tiled_potrf(d, block, threads) : potrf(d, block, d)))
                throw BackendError("a preconditioner block is not definite");
        };
        if (!tiled) return parallel_for(design_.n_gates(), threads, factor);
        for (index_t i = 0; i < design_.n_gates(); ++i) factor(i);
        return;
    }
    T* a = matrix_.data();
    const index_t n = size_, nb = 64, nt = tiles(n, nb);
    parallel_for(nt, threads, [&](index_t b) { // lower triangle = I + s H
        for (index_t j0 = 0; j0 <= b * nb; j0 += nb)
            for (index_t i = b * nb; i < std::min(n, (b + 1) * nb); ++i)
                for (index_t j = j0; j < std::min(i, j0 + nb); ++j) a[i * n + j] = s * a[j * n + i];
        for (index_t i = b * nb; i < std::min(n, (b + 1) * nb); ++i)
            a[i * n + i] = T(1) + s * diagonal_[i];
    });
    if (!tiled_potrf(n, a, threads))
        throw BackendError("the system I + gamma F'F is not positive definite in this precision: "
                           "raise beta or rho, or use dtype='float64'");
    if (!explicit_inverse_) return;
    tiled_inverse(n, a, threads);
    product_.set_diagonal_tiles(a);
}

template <class T> void GraphProjection<T>::solve(const T* rhs, T* x) {
    if (explicit_inverse_) return product_(matrix_.data(), rhs, x, design_.threads());
    std::copy(rhs, rhs + size_ * design_.c(), x);
    tiled_solve(size_, design_.c(), matrix_.data(), x, design_.threads());
}

template <class T>
void GraphProjection<T>::project(const T* a, const T* b, T* u, T* zeta, bool want_zeta,
                                 double tolerance) {
    const index_t half = design_.half(), n = design_.n(), c = design_.c();
    const T gamma = static_cast<T>(gamma_), s = static_cast<T>(signs_ * gamma_);
    const int threads = design_.threads();
    flat(half, threads, [&](index_t i0, index_t i1) { // e = a_1 - a_2
        for (index_t i = i0; i < i1; ++i) e_[i] = signs_ == 2 ? a[i] - a[half + i] : a[i];
    });
    if (form_ == Form::rows) { // p = (I + s H)^-1 (b - F a);  u = a + gamma F'p;  F u = b - p
        design_.forward(e_.data(), z_.data());
        for (index_t i = 0; i < c * n; ++i) z_[i] = b[i] - z_[i];
        solve(z_.data(), zeta);
        design_.adjoint(zeta, g_.data());
        for (index_t i = 0; i < c * n; ++i) zeta[i] = b[i] - zeta[i];
        flat(half, threads, [&](index_t i0, index_t i1) {
            for (index_t i = i0; i < i1; ++i) {
                const T step = gamma * g_[i];
                u[i] = a[i] + step;
                if (signs_ == 2) u[half + i] = a[half + i] - step;
            }
        });
        return;
    }
    // (I + s Fh'Fh) delta = e + s Fh'b;  u = (sum +- delta) / 2
    if (b != fixed_) design_.adjoint(b, target_.data());
    flat(half, threads, [&](index_t i0, index_t i1) {
        for (index_t i = i0; i < i1; ++i) e_[i] += s * target_[i];
    });
    T* delta = f_.data();
    if (form_ == Form::iterative) {
        cg(e_.data(), delta_.data(), tolerance);
        delta = delta_.data();
    } else {
        solve(e_.data(), delta); // weights (c, P, d) are c rows of length P d
    }
    flat(half, threads, [&](index_t i0, index_t i1) {
        for (index_t i = i0; i < i1; ++i) {
            if (signs_ == 1) {
                u[i] = delta[i];
                continue;
            }
            const T sum = a[i] + a[half + i];
            u[i] = T(0.5) * (sum + delta[i]);
            u[half + i] = T(0.5) * (sum - delta[i]);
        }
    });
    if (want_zeta) design_.forward(delta, zeta);
}

template <class T> void GraphProjection<T>::fix_target(const T* b) {
    fixed_ = b; // null: b changes from call to call
    if (b && form_ != Form::rows) design_.adjoint(b, target_.data());
}

template <class T> void GraphProjection<T>::apply(const T* x, T* y) {
    design_.forward(x, z_.data());
    design_.adjoint(z_.data(), y);
    const T s = static_cast<T>(signs_ * gamma_);
    flat(design_.half(), design_.threads(), [&](index_t i0, index_t i1) {
        for (index_t i = i0; i < i1; ++i) y[i] = x[i] + s * y[i];
    });
}

// Preconditioned conjugate gradients for all c outputs in lockstep.
template <class T> void GraphProjection<T>::cg(const T* rhs, T* x, double tolerance) {
    const index_t d = design_.d(), p = design_.n_gates(), c = design_.c(), m = p * d;
    const int threads = design_.threads();
    std::vector<T> r(rhs, rhs + c * m), y(r.size()), q(r.size());
    const auto precondition = [&] {
        std::copy(r.begin(), r.end(), y.begin());
        parallel_for(p, threads, [&](index_t i) {
            const T* block = blocks_.data() + i * d * d;
            for (index_t k = 0; k < c; ++k) potrs(d, 1, block, d, y.data() + k * m + i * d, 1);
        });
    };
    std::vector<double> goal(c), rho(c);
    apply(x, g_.data());
    for (index_t k = 0; k < c; ++k)
        goal[k] = tolerance * std::sqrt(double(dot(m, rhs + k * m, rhs + k * m)));
    for (std::size_t i = 0; i < r.size(); ++i) r[i] -= g_[static_cast<index_t>(i)];
    precondition();
    q = y;
    for (index_t k = 0; k < c; ++k) rho[k] = dot(m, r.data() + k * m, y.data() + k * m);
    for (int iteration = 0; iteration < 500; ++iteration) {
        bool done = true;
        for (index_t k = 0; k < c; ++k)
            done = done && std::sqrt(double(dot(m, r.data() + k * m, r.data() + k * m))) <= goal[k];
        if (done) return;
        ++cg_iterations_;
        apply(q.data(), g_.data());
        for (index_t k = 0; k < c; ++k) {
            const double curvature = dot(m, q.data() + k * m, g_.data() + k * m);
            if (!(curvature > 0) || !(rho[k] > 0)) continue;
            const T alpha = static_cast<T>(rho[k] / curvature);
            axpy(m, alpha, q.data() + k * m, x + k * m);
            axpy(m, -alpha, g_.data() + k * m, r.data() + k * m);
        }
        precondition();
        for (index_t k = 0; k < c; ++k) {
            const double next = dot(m, r.data() + k * m, y.data() + k * m);
            const T ratio = rho[k] > 0 ? static_cast<T>(next / rho[k]) : T(0);
            rho[k] = next;
            for (index_t i = 0; i < m; ++i) q[k * m + i] = y[k * m + i] + ratio * q[k * m + i];
        }
    }
}

template class Design<double>;
template class Design<float>;
template class GraphProjection<double>;
template class GraphProjection<float>;

} // namespace fastopt
