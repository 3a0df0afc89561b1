// Device kernels of the cones and of Newton's step on their faces: a warp a block. The B blocks
// have A active rows in all, the sum of whose squares is Q, and G gates among them.
#pragma once

#include "admm_relu/admm_cuda.cuh"
#include "admm_relu/cone_projection.hpp"

namespace fastopt {
namespace gpu {

constexpr double feasibility = 1e-13; // the same as on the CPU
constexpr double nothing = 1e-12;
constexpr double independent = 1e-9;
constexpr double cancellation = 0.1;
constexpr index_t many_columns = 60; // rows enter the active set several at a time
constexpr int cone_threads = 128;

// x_kj = X_jk / ||X_j||: a thread a row. Bytes: reads 8 n d; writes 8 n d.
struct UnitColumns {
    index_t n, d;
    const double* from;
    double* x;
    double* inverse_length; // written too; or null
    FASTOPT_HD void operator()(index_t j) const {
        const double length = BlockLength{d, from}(j);
        for (index_t k = 0; k < d; ++k) x[k * n + j] = length > 0 ? from[j * d + k] / length : 0.0;
        if (inverse_length) inverse_length[j] = length > 0 ? 1 / length : 1.0;
    }
};

// For kernels: without gaps between its members. `work` holds 4 d + most numbers a block.
struct ConeArguments {
    index_t count, n, d, p, most; // most: candidates of a block
    double level;
    const double* x; // unit rows of X as columns
    const double* gates;
    const double* radius; // of the boxes around the samples; null: none
    const double* inverse_length;
    const double* r;
    double* v;
    double* norm;
    index_t* counts;
    index_t* rows;
    double* mu;
    double* q;
    double* triangle;
    double* xv;
    double* work;
    index_t* candidates;
};

// The least value of a warp and its index; the lower index of equal ones.
__device__ inline void warp_least(double& value, index_t& index) {
    for (int bits = warp_size / 2; bits > 0; bits /= 2) {
        const double other = __shfl_xor_sync(whole_warp, value, bits);
        const index_t its = __shfl_xor_sync(whole_warp, index, bits);
        if (other < value || (other == value && its < index)) value = other, index = its;
    }
}

// One cone's dual active set, of cone_projection.hpp, by one warp. What a lane has written others
// read only behind a __syncwarp(); conditions before one are the same for all lanes.
struct ConeWarp {
    index_t n, d, most;
    const double* x;
    const double* gate;
    const double* radius;
    const double* inverse_length;
    const double* r;
    double* v;
    index_t* count;
    index_t* rows;
    double* mu;
    double* q;        // |S| rows of d
    double* triangle; // column j of R at triangle[j d]
    double* xv;
    double *c, *m, *next, *row, *value;
    index_t* candidate;
    int lane;
    index_t kept; // candidates
    double reach; // e'|v|

    __device__ ConeWarp(const ConeArguments& a, index_t k)
        : n(a.n), d(a.d), most(a.most), x(a.x), gate(a.gates + k % a.p * a.n), radius(a.radius),
          inverse_length(a.inverse_length), r(a.r + k * a.d), v(a.v + k * a.d), count(a.counts + k),
          rows(a.rows + k * a.d), mu(a.mu + k * a.d), q(a.q + k * a.d * a.d),
          triangle(a.triangle + k * a.d * a.d), xv(a.xv + k * a.n),
          c(a.work + k * (4 * a.d + a.most)), m(c + a.d), next(m + a.d), row(next + a.d),
          value(row + a.d), candidate(a.candidates + k * a.most), lane(thread() % warp_size),
          kept(0), reach(0) {}

    __device__ double signed_by(index_t j, double xv_j) const { return (2 * gate[j] - 1) * xv_j; }
    // (E_i X v)_j / ||x_j|| - e'|v| / ||x_j||, given the first term without its sign.
    __device__ double slack(index_t j, double xv_j) const {
        return signed_by(j, xv_j) - (radius ? reach * inverse_length[j] : 0.0);
    }
    __device__ void measure_reach() { // after each change of v
        if (!radius) return;          // the same for all
        double sum = 0;
        for (index_t l = lane; l < d; l += warp_size) sum += radius[l] * vabs(v[l]);
        reach = warp_reduce(sum, Plus());
    }
    __device__ double product(index_t j) const { // (X v)_j by one lane
        double sum = 0;
        for (index_t l = 0; l < d; ++l) sum += x[l * n + j] * v[l];
        return sum;
    }

    // to = from - Q'(Q from), leaving c = Q from; k rows of Q.
    __device__ void leave_span(index_t k, const double* from, double* to) {
        for (index_t i = lane; i < k; i += warp_size) {
            double sum = 0;
            for (index_t l = 0; l < d; ++l) sum += q[i * d + l] * from[l];
            c[i] = sum;
        }
        __syncwarp(); // all of c is there
        for (index_t l = lane; l < d; l += warp_size) {
            double sum = from[l];
            for (index_t i = 0; i < k; ++i) sum -= c[i] * q[i * d + l];
            to[l] = sum;
        }
        __syncwarp();
    }

    // v = r + N_S' mu for the best mu >= 0 whose support lies in S.
    __device__ void warm() {
        for (;;) {
            const index_t k = *count;
            leave_span(k, r, v);
            if (k == 0) return;
            for (index_t i = lane; i < k; i += warp_size) m[i] = -c[i];
            FASTOPT_NOT_UNROLLED
            for (index_t j = k - 1; j >= 0; --j) { // R next = -Q r, by columns
                __syncwarp();
                const double* column = triangle + j * d;
                const double mj = m[j] / column[j];
                for (index_t i = lane; i < j; i += warp_size) m[i] -= column[i] * mj;
                if (lane == 0) next[j] = mj;
            }
            __syncwarp();
            double alpha = 2; // steps are at most 1
            index_t leaving = k;
            FASTOPT_NOT_UNROLLED
            for (index_t j = lane; j < k; j += warp_size) {
                if (next[j] > 0) continue;
                const double step = mu[j] / (mu[j] - next[j]), safe = step >= 0 ? step : 0.0;
                if (safe < alpha) alpha = safe, leaving = j;
            }
            warp_least(alpha, leaving);
            if (leaving == k) {
                for (index_t j = lane; j < k; j += warp_size) mu[j] = next[j];
                if (warp_length(v, d) < cancellation * warp_length(r, d)) leave_span(k, v, v);
                __syncwarp();
                return;
            }
            for (index_t j = lane; j < k; j += warp_size) {
                const double moved = mu[j] + alpha * (next[j] - mu[j]);
                mu[j] = j != leaving && moved > 0 ? moved : 0.0;
            }
            __syncwarp();
            remove(leaving);
        }
    }

    // Deletes active row k: Givens rotations make R triangular again.
    __device__ void remove(index_t k) {
        const index_t size = *count;
        for (index_t i = lane; i < d; i += warp_size)
            for (index_t j = k; j + 1 < size; ++j) triangle[j * d + i] = triangle[(j + 1) * d + i];
        __syncwarp();
        FASTOPT_NOT_UNROLLED
        for (index_t j = k; j + 1 < size; ++j) { // rows j, j + 1 of R; basis vectors j, j + 1
            const double a = triangle[j * d + j], b = triangle[j * d + j + 1];
            const double h = vsqrt(a * a + b * b), cosine = a / h, sine = b / h;
            __syncwarp(); // everyone has read a and b
            for (index_t col = j + lane; col + 1 < size; col += warp_size)
                rotate(triangle[col * d + j], triangle[col * d + j + 1], cosine, sine);
            for (index_t i = lane; i < d; i += warp_size)
                rotate(q[j * d + i], q[(j + 1) * d + i], cosine, sine);
            __syncwarp();
        }
        if (lane == 0) {
            for (index_t j = k; j + 1 < size; ++j) rows[j] = rows[j + 1], mu[j] = mu[j + 1];
            *count = size - 1;
        }
        __syncwarp();
    }
    __device__ static void rotate(double& a, double& b, double cosine, double sine) {
        const double u = a, w = b;
        a = cosine * u + sine * w;
        b = cosine * w - sine * u;
    }

    // Appends a row to the active set; false when it depends on those there.
    __device__ bool add(index_t j) {
        const index_t k = *count;
        if (k >= d) return false;
        double* column = triangle + k * d;
        for (index_t l = lane; l < d; l += warp_size) {
            row[l] = signed_by(j, x[l * n + j]);
            column[l] = 0;
        }
        __syncwarp();
        if (radius && !move_to_corner(j)) return false;
        for (int pass = 0; pass < 2; ++pass) { // Gram-Schmidt, twice
            leave_span(k, row, row);
            for (index_t i = lane; i < k; i += warp_size) column[i] += c[i];
            __syncwarp();
        }
        const double length = warp_length(row, d);
        if (length < independent) return false;
        const double scale = 1 / length;
        for (index_t l = lane; l < d; l += warp_size) q[k * d + l] = scale * row[l];
        if (lane == 0) column[k] = length, rows[k] = j, mu[k] = 0, *count = k + 1;
        __syncwarp();
        return true;
    }
    // The row becomes that of the box's corner which is worst at v, a unit vector again; false
    // where it vanishes.
    __device__ bool move_to_corner(index_t j) {
        const double inverse = inverse_length[j];
        for (index_t l = lane; l < d; l += warp_size)
            row[l] -= ::copysign(radius[l] * inverse, v[l]);
        const double size = warp_length(row, d);
        if (!(size > 0)) return false;
        const double scale = 1 / size;
        for (index_t l = lane; l < d; l += warp_size) row[l] *= scale;
        __syncwarp();
        return true;
    }
    __device__ bool active(index_t j) const {
        int here = 0;
        for (index_t k = lane; k < *count; k += warp_size) here |= rows[k] == j;
        return __any_sync(whole_warp, here) != 0;
    }

    // How many rows are violated by more than `level`.
    __device__ index_t violated(double level) const {
        index_t found = 0;
        for (index_t j = lane; j < n; j += warp_size) found += slack(j, xv[j]) < -level;
        return warp_reduce(found, Plus());
    }
    // The violated rows, or some of the worst, at most `most`, become the candidates.
    __device__ index_t collect(double tolerance) {
        const index_t found = violated(tolerance);
        if (found == 0) return 0;
        double level = tolerance;
        if (found > most) {
            double worst = 0;
            for (index_t j = lane; j < n; j += warp_size) {
                const double violation = -slack(j, xv[j]);
                worst = violation > worst ? violation : worst;
            }
            worst = warp_reduce(worst, Larger());
            for (index_t left = found; left > most;) {
                const double higher = 0.5 * (level + worst);
                left = higher < worst ? violated(higher) : 0;
                if (left > 0) level = higher; // else equal ones: any of them
            }
        }
        kept = 0;
        for (index_t first = 0; first < n && kept < most; first += warp_size) {
            const index_t j = first + lane;
            const bool take = j < n && slack(j, xv[j]) < -level;
            const unsigned taken = __ballot_sync(whole_warp, take);
            const index_t at = kept + __popc(taken & ((1u << lane) - 1));
            if (take && at < most) candidate[at] = j;
            kept += __popc(taken);
        }
        kept = kept < most ? kept : most;
        __syncwarp();
        return found;
    }

    // From a v that violates rows (xv = X v) to the projection.
    __device__ void refine() {
        const double tolerance = feasibility * warp_length(r, d);
        index_t budget = (radius ? 100 : 20) * d + 200;
        for (;;) {
            measure_reach();
            const index_t found = collect(tolerance);
            if (found == 0) return;
            bool changed = false;
            while (budget > 0) {
                measure_reach();
                double worst = -tolerance;
                index_t entering = most;
                for (index_t k = lane; k < kept; k += warp_size) {
                    const index_t j = candidate[k];
                    value[k] = j < 0 ? 0.0 : slack(j, product(j));
                    if (value[k] < worst) worst = value[k], entering = k;
                }
                warp_least(worst, entering);
                if (entering == most) break;
                const index_t j = candidate[entering], before = *count;
                __syncwarp();  // everyone has read them
                if (!add(j)) { // dependent: satisfied with the others, up to rounding
                    if (lane == 0) candidate[entering] = -1;
                    __syncwarp();
                    continue;
                }
                --budget;
                changed = true;
                if (d >= many_columns) add_more(found, before, entering, tolerance);
                warm();
            }
            if (!changed || budget <= 0) return;
            for (index_t j = lane; j < n; j += warp_size) xv[j] = product(j);
            __syncwarp();
        }
    }
    __device__ void add_more(index_t found, index_t before, index_t entering, double tolerance) {
        const index_t quarter = found / 4, half = (d - before) / 2;
        index_t more = (quarter < half ? quarter : half) - 1;
        for (index_t k = 0; more > 0 && k < kept; ++k) {
            const index_t other = candidate[k];
            if (k == entering || other < 0 || !(value[k] < -tolerance) || active(other)) continue;
            if (add(other)) --more;
        }
    }
    __device__ void finish(double level, double* norm) { // v = 0 when it is short
        const double length = warp_length(v, d);
        const bool zero = length <= level;
        __syncwarp();
        for (index_t l = lane; zero && l < d; l += warp_size) v[l] = 0;
        if (lane == 0) *norm = zero ? 0.0 : length;
        __syncwarp();
    }
};

// The projections' first step: from the last active sets. ||v|| >= ||Proj_K||, as mu >= 0; blocks
// at or below the level are 0. The least is where no row leaves.
// Bytes: reads 8 (B (2 d + 1) + A (d + 3)) + 4 (A + Q); writes 8 (B (d + 1) + 4 A).
// At most: reads 8 (B (2 d + 1) + A (2 d + 5)); writes 8 (B (d + 2) + A (2 d + 5)).
__global__ void __launch_bounds__(cone_threads, 1) warm_cones(ConeArguments a) {
    for (index_t k = warp_number(); k < a.count; k += warps()) {
        ConeWarp cone(a, k);
        cone.warm();
        cone.finish(a.level, a.norm + k);
    }
}

// The others' second step, given xv = X v. `left` blocks are not 0, of G gates, but `zeroed` of
// them by rounding only; they have room for `most` candidates each. The least is where no row is
// violated.
// Bytes: reads 8 (B + left (n + 2 d) + G n); writes 8 (left + zeroed d).
// At most: reads 8 (B + left (n + 2 d d + 8 d + 2 most + 2) + G n + n d); writes 8 left (n + 2 d d
// + 7 d + 2 most + 2).
__global__ void __launch_bounds__(cone_threads, 1) refine_cones(ConeArguments a) {
    for (index_t k = warp_number(); k < a.count; k += warps()) {
        if (a.norm[k] == 0) continue; // the same for the whole warp
        ConeWarp cone(a, k);
        cone.refine();
        const double rounding = nothing * warp_length(cone.r, a.d);
        cone.finish(a.level > rounding ? a.level : rounding, a.norm + k);
    }
}

// max_j -(E_i X v)_j / (||x_j|| ||v||) of each block, at least 0.
// Bytes: reads 8 (n d + G n + B d); writes 8 B.
__global__ void __launch_bounds__(cone_threads, 1) cone_violations(ConeArguments a) {
    for (index_t k = warp_number(); k < a.count; k += warps()) {
        ConeWarp cone(a, k);
        cone.measure_reach();
        const double length = warp_length(cone.v, a.d);
        double worst = 0;
        for (index_t j = cone.lane; j < a.n; j += warp_size) {
            const double violation = -cone.slack(j, cone.product(j));
            worst = violation > worst ? violation : worst;
        }
        worst = warp_reduce(worst, Larger());
        if (cone.lane == 0) a.norm[k] = length > 0 ? worst / length : 0.0;
    }
}

// ---- Newton on the active face -----------------------------------------------------------------

// The active blocks of one output, and the columns of the reduced system that belong to each: for
// kernels, without gaps. In what follows m columns belong to `active` blocks of G gates.
struct FaceArguments {
    index_t n, d, w, p, c, m, active; // w: width of a block; m: columns; active: blocks
    const index_t* owner;             // of a column: its active block
    const index_t* block;             // of an active block: its number
    const index_t* first;             // its first column; first[active] = m
    double* basis;                    // Z: a row of w a column
    double* t;                        // Z'v
    double* f;                        // (n, m)
    double* step;
    double* hessian;

    FASTOPT_HD index_t block_of(index_t column) const { return block[owner[column]]; }
    FASTOPT_HD index_t gate_of(index_t b) const { return b % p; }
    FASTOPT_HD double sign_of(index_t b) const { return b / (p * c) ? -1.0 : 1.0; }
};

// A basis of each face {v : N_S v = 0}: unit vectors, the farthest from the span first,
// orthogonalised; a warp a block, which runs over its numbers 4 (d - |S|) times.
// Bytes: reads 8 active (d d + 2 d + 2); writes 8 (m d + active (2 d - 1)).
__global__ void __launch_bounds__(cone_threads, 1)
    face_bases(FaceArguments a, const index_t* __restrict__ counts, const double* __restrict__ q,
               double* left_of, double* c_of) {
    const int lane = thread() % warp_size;
    const index_t d = a.d;
    for (index_t k = warp_number(); k < a.active; k += warps()) {
        const index_t b = a.block[k], size = counts[b];
        const double* old_rows = q + b * d * d;
        double* new_rows = a.basis + a.first[k] * d;
        double *left = left_of + k * d, *c = c_of + k * d; // left: squared distance to the span
        const auto vector = [=](index_t i) {
            return i < size ? old_rows + i * d : new_rows + (i - size) * d;
        };
        for (index_t l = lane; l < d; l += warp_size) {
            double rest = 1;
            for (index_t i = 0; i < size; ++i) rest -= old_rows[i * d + l] * old_rows[i * d + l];
            left[l] = rest;
        }
        for (index_t i = size; i < d; ++i) {
            double least = 2; // of -left
            index_t farthest = d;
            for (index_t l = lane; l < d; l += warp_size)
                if (-left[l] < least) least = -left[l], farthest = l;
            warp_least(least, farthest);
            double* e = new_rows + (i - size) * d;
            for (index_t l = lane; l < d; l += warp_size) e[l] = l == farthest ? 1.0 : 0.0;
            __syncwarp();
            for (int pass = 0; pass < 2; ++pass) {
                for (index_t j = lane; j < i; j += warp_size) {
                    const double* other = vector(j);
                    double sum = 0;
                    for (index_t l = 0; l < d; ++l) sum += other[l] * e[l];
                    c[j] = sum;
                }
                __syncwarp();
                for (index_t l = lane; l < d; l += warp_size) {
                    double sum = e[l];
                    for (index_t j = 0; j < i; ++j) sum -= c[j] * vector(j)[l];
                    e[l] = sum;
                }
                __syncwarp();
            }
            const double scale = 1 / warp_length(e, d);
            __syncwarp();
            for (index_t l = lane; l < d; l += warp_size) {
                e[l] *= scale;
                left[l] = l == farthest ? -1.0 : left[l] - e[l] * e[l];
            }
            __syncwarp();
        }
    }
}
// Without cones. Bytes: reads 8 (m + active); writes 8 m w.
struct UnitBases {
    FaceArguments a;
    FASTOPT_HD void operator()(index_t at) const {
        const index_t column = at / a.w, l = at - column * a.w;
        a.basis[at] = l == column - a.first[a.owner[column]] ? 1.0 : 0.0;
    }
};
// t = Z'v. Bytes: reads 8 (m w + m + active w + active); writes 8 m.
struct FaceCoordinates {
    FaceArguments a;
    const double* v;
    FASTOPT_HD void operator()(index_t column) const {
        const double* z = a.basis + column * a.w;
        const double* block = v + a.block_of(column) * a.w;
        double sum = 0;
        for (index_t l = 0; l < a.w; ++l) sum += z[l] * block[l];
        a.t[column] = sum;
    }
};
// f = the columns of X that are active. Bytes: reads 8 (n G + 2 m + active); writes 8 n m.
struct SingleColumns {
    FaceArguments a;
    const double* x;
    FASTOPT_HD void operator()(index_t at) const {
        const index_t r = at / a.m, column = at - r * a.m;
        a.f[at] = x[r * a.d + a.gate_of(a.block_of(column))] * a.basis[column];
    }
};
// f = +-D_i f; `gated` unless gates are always open.
// Bytes: reads 8 (n m + gated n G + m + active); writes 8 n m.
struct GateFace {
    FaceArguments a;
    const double* gates; // null: single columns, always open
    FASTOPT_HD void operator()(index_t at) const {
        const index_t r = at / a.m, b = a.block_of(at - r * a.m);
        const double sign = a.sign_of(b);
        a.f[at] *= gates ? sign * gates[a.gate_of(b) * a.n + r] : sign;
    }
};
// f = sqrt(L'') f. Bytes: reads 8 n (m + 1); writes 8 n m.
struct RootFace {
    FaceArguments a;
    const double* h;
    FASTOPT_HD void operator()(index_t at) const { a.f[at] *= vsqrt(h[at / a.m]); }
};
// Bytes: reads 8 m; writes 0.
struct Diagonal {
    index_t m;
    const double* a;
    FASTOPT_HD double operator()(index_t i) const { return a[i * m + i]; }
};
// beta (I - t t'/|t|^2) / |t|, the gradient beta t / |t|, and a shift; the blocks of columns have
// `pairs` numbers in the lower triangle.
// Bytes: reads 8 (3 active + 3 m + pairs); writes 8 (m + pairs).
struct AddNorms {
    FaceArguments a;
    double beta, shift;
    const double* norm;
    FASTOPT_HD void operator()(index_t i) const {
        const double length = norm[a.block_of(i)], ti = a.t[i] / length;
        a.step[i] -= beta * ti;
        for (index_t j = a.first[a.owner[i]]; j <= i; ++j)
            a.hessian[i * a.m + j] +=
                beta / length * ((i == j ? 1.0 : 0.0) - ti * a.t[j] / length) +
                (i == j ? shift : 0.0);
    }
};
// next += Z step. Bytes: reads 8 (active w + 2 active + 1 + m w + m); writes 8 active w.
struct MoveBlocks {
    FaceArguments a;
    double* next;
    FASTOPT_HD void operator()(index_t at) const {
        const index_t k = at / a.w, l = at - k * a.w;
        double sum = next[a.block[k] * a.w + l];
        for (index_t j = a.first[k]; j < a.first[k + 1]; ++j)
            sum += a.basis[j * a.w + l] * a.step[j];
        next[a.block[k] * a.w + l] = sum;
    }
};

} // namespace gpu
} // namespace fastopt
