// On the CPU: a Newton step for the program restricted to its active blocks and the faces they lie
// on:
//     H s = -(Z'F_A' L'(F v) + beta t/|t|),
//     H   =  Z'F_A' L'' F_A Z + beta blkdiag((I - t t'/|t|^2) / |t|),   t = Z'v,
// where Z_b is a basis of the null space of the active rows of block b.
#include <algorithm>
#include <cmath>

#include "admm_relu/program.hpp"
#include "admm_relu/symmetric.hpp"
#include "core/parallel.hpp"

namespace fastopt {
namespace {

constexpr index_t row_tile = 256, column_tile = 128;

struct ActiveBlock {
    index_t block, first, size; // block: -1 of another rank; first column and how many
    double sign;
    std::vector<double> basis, t; // (size, width) and Z'v
    double length = 0;
    const double* pattern = nullptr; // (n) of its gate
};

// The active blocks of all ranks that share the weights, in the order of the ranks. `patterns`
// holds those of the others' gates.
std::vector<ActiveBlock> of_all_ranks(Communicator* comm, std::vector<ActiveBlock> own, index_t n,
                                      index_t w, std::vector<double>& patterns) {
    if (!comm) return own;
    std::vector<double> mine; // each block as its size, sign, length, pattern, t and basis
    for (const ActiveBlock& a : own) {
        mine.insert(mine.end(), {static_cast<double>(a.size), a.sign, a.length});
        mine.insert(mine.end(), a.pattern, a.pattern + n);
        mine.insert(mine.end(), a.t.begin(), a.t.end());
        mine.insert(mine.end(), a.basis.begin(), a.basis.end());
    }
    const auto count = static_cast<double>(mine.size());
    std::vector<double> counts(static_cast<std::size_t>(comm->size()));
    comm->allgather(&count, 1, counts.data());
    const auto most = static_cast<index_t>(*std::max_element(counts.begin(), counts.end()));
    if (most == 0) return own;
    mine.resize(static_cast<std::size_t>(most));
    patterns.resize(static_cast<std::size_t>(most * comm->size()));
    comm->allgather(mine.data(), most, patterns.data());

    std::vector<ActiveBlock> all;
    index_t m = 0;
    for (int rank = 0; rank < comm->size(); ++rank) {
        const double* from = patterns.data() + rank * most;
        const double* end = from + static_cast<index_t>(counts[rank]);
        for (std::size_t i = 0; from < end; ++i) {
            ActiveBlock a;
            a.block = rank == comm->rank() ? own[i].block : -1;
            a.first = m, a.size = static_cast<index_t>(from[0]);
            a.sign = from[1], a.length = from[2], a.pattern = from + 3;
            const double* t = a.pattern + n;
            a.t.assign(t, t + a.size);
            a.basis.assign(t + a.size, t + a.size * (w + 1));
            from = t + a.size * (w + 1);
            m += a.size;
            all.push_back(std::move(a));
        }
    }
    return all;
}

} // namespace

bool newton_direction(Program& program, double beta, const double* v, const double* z,
                      const ActiveSets& sets, double* next) {
    const ProgramShape& s = program.shape;
    const index_t n = s.n, w = s.width(), d = s.d, per_output = s.half() / (w * s.c);
    const index_t cap = std::max<index_t>(s.samples(), 1000);
    const int threads = program.threads();
    const Sharing& sharing = program.sharing();
    // The samples that this rank adds up: its own, or a part of those that all have.
    const Share mine = share_of(n, sharing.weights);
    std::vector<double> theta(static_cast<std::size_t>(s.c * n)), h(theta.size());
    if (!program.loss.curvature(z, h.data())) return false;
    program.loss.gradient(z, theta.data());
    std::copy(v, v + s.size(), next);

    for (index_t k = 0; k < s.c; ++k) {
        std::vector<ActiveBlock> active;
        index_t m = 0;
        for (int sign = 0; sign < s.signs; ++sign)
            for (index_t i = 0; i < per_output; ++i) {
                const index_t b = (sign * s.c + k) * per_output + i;
                const double length = std::sqrt(dot(w, v + b * w, v + b * w));
                if (!(length > 0)) continue;
                ActiveBlock a;
                a.block = b, a.first = m, a.sign = sign ? -1 : 1, a.length = length;
                a.pattern = s.single_columns ? nullptr : program.gates() + i * n;
                if (s.cone) {
                    a.basis = program.cones().face_basis(sets[b]);
                } else {
                    a.basis.assign(static_cast<std::size_t>(w * w), 0.0);
                    for (index_t j = 0; j < w; ++j) a.basis[j * w + j] = 1;
                }
                a.size = static_cast<index_t>(a.basis.size()) / w;
                if (a.size == 0) continue;
                a.t.resize(static_cast<std::size_t>(a.size));
                gemv(false, a.size, w, 1.0, a.basis.data(), w, v + b * w, 0.0, a.t.data());
                m += a.size;
                active.push_back(std::move(a));
            }
        std::vector<double> patterns;
        active = of_all_ranks(sharing.weights, std::move(active), n, w, patterns);
        m = active.empty() ? 0 : active.back().first + active.back().size;
        if (m == 0) continue;
        if (m > cap) return false;

        // Rows sqrt(L'') F_A Z, and the gradient through F_A Z.
        const Buffer<double> f(checked_product(mine.count(), m));
        const index_t tiles = (mine.count() + row_tile - 1) / row_tile;
        const Buffer<double> partial(checked_product(tiles, m));
        parallel_for(tiles, threads, [&](index_t b) {
            const index_t r0 = mine.begin + b * row_tile, rows = std::min(row_tile, mine.end - r0);
            double* top = f.data() + b * row_tile * m;
            for (const ActiveBlock& a : active)
                if (s.single_columns)
                    for (index_t r = 0; r < rows; ++r)
                        top[r * m + a.first] =
                            program.x()[(r0 + r) * d + a.block % per_output] * a.basis[0];
                else
                    gemm(false, true, rows, a.size, d, 1.0, program.x() + r0 * d, d, a.basis.data(),
                         d, 0.0, top + a.first, m);
            for (index_t r = 0; r < rows; ++r) {
                double* row = top + r * m;
                const double t = theta[k * n + r0 + r], root = std::sqrt(h[k * n + r0 + r]);
                for (const ActiveBlock& a : active) {
                    const double gate = s.single_columns ? a.sign : a.sign * a.pattern[r0 + r];
                    for (index_t j = a.first; j < a.first + a.size; ++j) {
                        row[j] *= gate;
                        partial[b * m + j] += row[j] * t;
                        row[j] *= root;
                    }
                }
            }
        });
        std::vector<double> step(static_cast<std::size_t>(m));
        for (index_t b = 0; b < tiles; ++b)
            for (index_t j = 0; j < m; ++j) step[j] -= partial[b * m + j];
        sum_over_ranks(sharing.comm(), step.data(), m);

        const Buffer<double> hessian(checked_product(m, m));
        const index_t nt = (m + column_tile - 1) / column_tile;
        parallel_for(nt * nt, threads, [&](index_t b) {
            const index_t i0 = b / nt * column_tile, j0 = b % nt * column_tile;
            if (i0 < j0) return;
            gemm(true, false, std::min(column_tile, m - i0), std::min(column_tile, m - j0),
                 mine.count(), 1.0, f.data() + i0, m, f.data() + j0, m, 0.0,
                 hessian.data() + i0 * m + j0, m);
        });
        sum_triangle_over_ranks(sharing.comm(), hessian.data(), m, true);
        double trace = 0;
        for (index_t j = 0; j < m; ++j) trace += hessian[j * m + j];
        for (const ActiveBlock& a : active)
            for (index_t i = 0; i < a.size; ++i) {
                const double ti = a.t[i] / a.length;
                step[a.first + i] -= beta * ti;
                for (index_t j = 0; j <= i; ++j)
                    hessian[(a.first + i) * m + a.first + j] +=
                        beta / a.length * ((i == j) - ti * a.t[j] / a.length);
            }
        for (index_t j = 0; j < m; ++j) hessian[j * m + j] += 1e-13 * (trace / m + 1e-300);
        if (!tiled_potrf(m, hessian.data(), threads)) return false;
        tiled_solve(m, 1, hessian.data(), step.data(), threads);
        for (const ActiveBlock& a : active)
            if (a.block >= 0)
                gemv(true, a.size, w, 1.0, a.basis.data(), w, step.data() + a.first, 1.0,
                     next + a.block * w);
    }
    return true;
}

} // namespace fastopt
