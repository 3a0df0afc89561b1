// The steps of admm_relu on a CUDA device: launches of kernels, and the
// libraries' algebra. Dense systems are solved by explicit inverses: one product instead of two
// triangular solves, which would wait for one row after another.
#include <algorithm>

#include "admm_relu/admm_launch.cuh"
#include "admm_relu/cone_cuda.cuh"
#include "admm_relu/design_cuda.cuh"
#include "admm_relu/loss_cuda.cuh"
#include "admm_relu/program.hpp"
#include "core/error.hpp"

namespace fastopt {
namespace {

using namespace gpu;

constexpr index_t most_parts = 16;                   // of a row in `inners`
constexpr index_t column_numbers = index_t{1} << 22; // of F at a time

} // namespace

// ---- sums --------------------------------------------------------------------------------------

double AdmmSteps::dot(index_t n, const double* a, const double* b) {
    return reduce<double, Plus>(*this, n, Product{a, b});
}

template <class T>
AdmmSteps::Distances AdmmSteps::distances(index_t n, const double* state, const double* x,
                                          const double* last, const T* y) {
    const Four s = reduce<Four, Plus>(*this, n, SquaredDistances<T>{state, x, last, y});
    return {vsqrt(s.a), vsqrt(s.b), vsqrt(s.c), vsqrt(s.d)};
}

template <class T>
double AdmmSteps::inner(index_t n1, index_t n2, const T* a, const T* b, double w1, double w2) {
    return reduce<double, Plus>(*this, n1 + n2, WeightedProduct<T>{n1, w1, w2, a, b});
}

template <class T>
void AdmmSteps::inners(index_t count, const T* rows, index_t n1, index_t n2, const T* a, const T* b,
                       double w1, double w2, double* with_a, double* with_b) {
    const index_t n = n1 + n2, parts = std::min(blocks_for(n), most_parts);
    Four* pieces = reinterpret_cast<Four*>(scratch(count * parts * 4));
    launch(queue_->stream(), std::min(count * parts, most_blocks), block_size,
           warps_of_block * sizeof(Four), row_products<T>, rows, count, n1, n, parts, a, b, w1, w2,
           pieces);
    gpu::over(*queue_, count, gpu::each<FoldPieces>, count, FoldPieces{parts, pieces});
    std::vector<Four> sums(static_cast<std::size_t>(count * parts));
    download(*queue_, sums.data(), pieces, sums.size() * sizeof(Four));
    for (index_t j = 0; j < count; ++j) {
        const Four& s = sums[static_cast<std::size_t>(j * parts)];
        with_a[j] = s.a, with_b[j] = s.b;
    }
}

template <class T>
void AdmmSteps::subtract_rows(index_t count, const double* gamma, const T* rows, index_t n, T* r) {
    if (coefficients_.size() < count) coefficients_ = Array<double>(queue_, count);
    upload(*queue_, coefficients_.data(), gamma, static_cast<std::size_t>(count) * sizeof(double));
    each(*this, n, SubtractRows<T>{count, n, coefficients_.data(), rows, r});
}

template <class T>
void AdmmSteps::row_dots(index_t count, index_t n, const T* a, const T* b, double* out) {
    launch(queue_->stream(), std::min(count, most_blocks), block_size,
           warps_of_block * sizeof(double), gpu::row_dots<T>, count, n, a, b, out);
}

void AdmmSteps::block_norms(index_t blocks, index_t w, const double* v, double* norm) {
    each(*this, blocks, SetBlockLength{{w, v}, norm});
}
double AdmmSteps::sum_of_norms(index_t blocks, index_t w, const double* v) {
    return reduce<double, Plus>(*this, blocks, BlockLength{w, v});
}
double AdmmSteps::largest(index_t n, const double* x) {
    return reduce<double, Larger>(*this, n, Value{x});
}
void AdmmSteps::shrink(index_t blocks, index_t w, double level, const double* norm,
                       const double* from, double* to) {
    each(*this, blocks * w, Shrink{w, level, norm, from, to});
}
std::uint64_t AdmmSteps::signature(index_t blocks, const double* norm, double level,
                                   const ActiveSets& sets) {
    const index_t d = sets.blocks ? sets.rows.size() / sets.blocks : 0;
    return reduce<std::uint64_t, Plus>(
        *this, blocks, BlockHash{d, level, norm, sets.counts.data(), sets.rows.data()});
}

#include "admm_relu/admm_steps.inl"

// ---- the design --------------------------------------------------------------------------------

template <class T>
Design<T>::Design(index_t n, index_t d, index_t n_gates, index_t c, const T* x, const T* gates,
                  int threads, std::shared_ptr<Queue> queue, const Sharing&)
    : n_(n), d_(d), p_(n_gates), c_(c), x_(x), gates_(gates), steps_(std::move(queue), threads),
      threads_(threads),
      work_(steps_.queue(), d == 1 ? c * n : checked_product(checked_product(c, n_gates), n)) {}

template <class T> void Design<T>::forward(const T* e, T* z) {
    Queue& queue = *steps_.queue();
    if (d_ == 1) { // z_kj = x_j (e_k'D)_j
        gemm<T>(queue, false, false, c_, n_, p_, T(1), e, p_, gates_, n_, T(0), z, n_);
        return each(steps_, c_ * n_, TimesColumn<T>{n_, x_, z, z});
    }
    gemm<T>(queue, false, true, c_ * p_, n_, d_, T(1), e, d_, x_, d_, T(0), work_.data(), n_);
    const index_t blocks = c_ * ((n_ + warp_size - 1) / warp_size);
    launch(queue.stream(), std::min(blocks, most_blocks), block_size, block_size * sizeof(T),
           gated_sum<T>, gates_, work_.data(), n_, p_, c_, z);
}

template <class T> void Design<T>::adjoint(const T* q, T* g) {
    Queue& queue = *steps_.queue();
    if (d_ == 1) { // g_k = D (x o q_k)
        each(steps_, c_ * n_, TimesColumn<T>{n_, x_, q, work_.data()});
        return gemm<T>(queue, false, true, c_, p_, n_, T(1), work_.data(), n_, gates_, n_, T(0), g,
                       p_);
    }
    each(steps_, c_ * p_ * n_, Gated<T>{n_, p_, gates_, q, work_.data()});
    gemm<T>(queue, false, false, c_ * p_, d_, n_, T(1), work_.data(), n_, x_, d_, T(0), g, d_);
}

// The lower triangle of H. Beside the n^2 numbers of each product: 4 n^2 T read and written.
template <class T>
GramSystem<T>::GramSystem(Design<T>& design, bool of_rows)
    : design_(&design), size_(of_rows ? design.n() : design.n_gates() * design.d()),
      matrix_(design.steps().queue(), checked_product(size_, size_)),
      inverse_(design.steps().queue(), matrix_.size()) {
    AdmmSteps& steps = design.steps();
    Queue& queue = *steps.queue();
    const index_t n = design.n(), d = design.d(), p = design.n_gates();
    if (of_rows) { // (X X') o (D'D)
        gemm<T>(queue, false, true, n, n, d, T(1), design.x(), d, design.x(), d, T(0),
                matrix_.data(), n);
        gemm<T>(queue, true, false, n, n, p, T(1), design.gates(), n, design.gates(), n, T(0),
                inverse_.data(), n);
        each(steps, n * n, Times<T>{matrix_.data(), inverse_.data()});
        return;
    }
    const index_t most = std::max<index_t>(1, std::min(n, column_numbers / size_));
    const Array<T> columns(steps.queue(), most * size_);
    for (index_t first = 0; first < n; first += most) {
        const index_t rows = std::min(most, n - first);
        each(steps, rows * size_,
             GatedColumns<T>{first, n, d, p, design.x(), design.gates(), columns.data()});
        syrk<T>(queue, size_, rows, T(1), columns.data(), size_, T(first > 0), matrix_.data(),
                size_);
    }
}

template <class T> void GramSystem<T>::factorise(double s) {
    AdmmSteps& steps = design_->steps();
    Queue& queue = *steps.queue();
    each(steps, size_ * size_, ShiftedGram<T>{s, size_, matrix_.data(), inverse_.data()});
    if (!potrf<T>(queue, size_, inverse_.data(), size_)) not_definite();
    potri<T>(queue, size_, inverse_.data(), size_);
    each(steps, size_ * size_, MirrorLower<T>{size_, inverse_.data()});
}

template <class T> void GramSystem<T>::solve(const T* rhs, T* x) {
    gemm<T>(*design_->steps().queue(), false, false, design_->c(), size_, size_, T(1), rhs, size_,
            inverse_.data(), size_, T(0), x, size_);
}

template <class T>
GateBlocks<T>::GateBlocks(Design<T>& design)
    : design_(&design),
      blocks_(design.steps().queue(),
              checked_product(checked_product(design.n_gates(), design.d()), design.d())) {}

template <class T> void GateBlocks<T>::factorise(double s) {
    AdmmSteps& steps = design_->steps();
    Queue& queue = *steps.queue();
    const index_t n = design_->n(), d = design_->d();
    const index_t most = std::max<index_t>(1, std::min(n, column_numbers / d));
    const Array<T> columns(steps.queue(), most * d);
    for (index_t i = 0; i < design_->n_gates(); ++i) {
        T* block = blocks_.data() + i * d * d;
        for (index_t first = 0; first < n; first += most) {
            const index_t rows = std::min(most, n - first);
            each(steps, rows * d,
                 GatedColumns<T>{first, n, d, 1, design_->x(), design_->gates() + i * n,
                                 columns.data()});
            syrk<T>(queue, d, rows, T(1), columns.data(), d, T(first > 0), block, d);
        }
        each(steps, d * d, ShiftedGram<T>{s, d, block, block});
        if (!potrf<T>(queue, d, block, d)) not_definite();
        potri<T>(queue, d, block, d);
        each(steps, d * d, MirrorLower<T>{d, block});
    }
}

template <class T> void GateBlocks<T>::solve(const T* rhs, T* x) {
    each(design_->steps(), design_->half(),
         GateProducts<T>{design_->d(), design_->n_gates(), blocks_.data(), rhs, x});
}

// ---- losses ------------------------------------------------------------------------------------

namespace {

LossArguments arguments(LossKind kind, index_t n, index_t c, double parameter,
                        const Array<double>& y, const Array<double>& weights, Array<double>& rows,
                        AdmmSteps& steps) {
    if (kind == LossKind::softmax && rows.size() == 0) rows = steps.array<double>(5 * c * n);
    return {static_cast<index_t>(kind), n, c, parameter, y.data(), weights.data(), rows.data()};
}

} // namespace

double Loss::value(const double* z) const {
    const auto a = arguments(kind_, n_, c_, parameter_, y_, weights_, rows_, steps_);
    return reduce<double, Plus>(steps_, n_, LossValue{a, z});
}
void Loss::gradient(const double* z, double* t) const {
    const auto a = arguments(kind_, n_, c_, parameter_, y_, weights_, rows_, steps_);
    each(steps_, n_, LossGradient{a, z, t});
}
double Loss::conjugate(const double* t) const {
    const auto a = arguments(kind_, n_, c_, parameter_, y_, weights_, rows_, steps_);
    return reduce<double, Plus>(steps_, n_, LossConjugate{a, t});
}
template <class T> void Loss::prox(const T* r, double rho, T* z) const {
    const auto a = arguments(kind_, n_, c_, parameter_, y_, weights_, rows_, steps_);
    each(steps_, n_, LossProx<T>{a, rho, r, z});
}
bool Loss::curvature(const double* z, double* h) const {
    if (!curved()) return false;
    const auto a = arguments(kind_, n_, c_, parameter_, y_, weights_, rows_, steps_);
    each(steps_, n_ * c_, LossCurvature{a, z, h});
    return true;
}

// ---- cones -------------------------------------------------------------------------------------

namespace {

index_t cone_blocks(index_t cones) { return blocks_for(cones * warp_size, cone_threads); }

} // namespace

ConeProjector::ConeProjector(index_t n, index_t d, index_t n_gates, const double* x,
                             const double* gates, int threads, const std::vector<double>& radius,
                             std::shared_ptr<Queue> queue, const Sharing&)
    : n_(n), d_(d), p_(n_gates), threads_(threads), steps_(std::move(queue), threads),
      x_(steps_.queue(), checked_product(n, d)), gates_(gates) {
    set_radius(radius);
    each(steps_, n, UnitColumns{n, d, x, x_.data(), inverse_length_.data()});
}

void ConeProjector::project(index_t count, const double* r, double level, ActiveSets& sets,
                            double* v, double* norm) {
    const index_t most = std::max<index_t>(2 * d_, 24);
    const auto& queue = steps_.queue();
    if (sets.counts.size() == 0) {
        const index_t rows = checked_product(sets.blocks, d_), square = checked_product(rows, d_);
        sets.counts = Array<index_t>(queue, sets.blocks), sets.rows = Array<index_t>(queue, rows);
        sets.mu = Array<double>(queue, rows);
        sets.q = Array<double>(queue, square), sets.r = Array<double>(queue, square);
    }
    if (xv_.size() < count * n_) {
        xv_ = Array<double>(queue, checked_product(count, n_));
        work_ = Array<double>(queue, count * (4 * d_ + most));
        candidates_ = Array<index_t>(queue, count * most);
    }
    const ConeArguments a = {count,
                             n_,
                             d_,
                             p_,
                             most,
                             level,
                             x_.data(),
                             gates_,
                             radius_.data(),
                             inverse_length_.data(),
                             r,
                             v,
                             norm,
                             sets.counts.data(),
                             sets.rows.data(),
                             sets.mu.data(),
                             sets.q.data(),
                             sets.r.data(),
                             xv_.data(),
                             work_.data(),
                             candidates_.data()};
    launch(queue->stream(), cone_blocks(count), cone_threads, 0, warm_cones, a);
    gemm<double>(*queue, false, false, count, n_, d_, 1.0, v, d_, x_.data(), n_, 0.0, xv_.data(),
                 n_);
    launch(queue->stream(), cone_blocks(count), cone_threads, 0, refine_cones, a);
}

double ConeProjector::worst_violation(index_t count, const double* v) {
    const auto worst = steps_.array<double>(count);
    ConeArguments a = {};
    a.count = count, a.n = n_, a.d = d_, a.p = p_, a.x = x_.data(), a.gates = gates_;
    a.radius = radius_.data(), a.inverse_length = inverse_length_.data();
    a.v = const_cast<double*>(v), a.norm = worst.data(); // v is only read
    launch(steps_.queue()->stream(), cone_blocks(count), cone_threads, 0, cone_violations, a);
    return steps_.largest(count, worst.data());
}

// ---- Newton ------------------------------------------------------------------------------------

bool newton_direction(Program& program, double beta, const double* v, const double* z,
                      const ActiveSets& sets, double* next) {
    const ProgramShape& s = program.shape;
    AdmmSteps& steps = program.steps;
    Queue& queue = *steps.queue();
    const index_t n = s.n, w = s.width(), d = s.d, per_output = s.half() / (w * s.c);
    const index_t cap = std::max<index_t>(n, 1000), nb = s.blocks();
    const auto theta = steps.array<double>(s.c * n), h = steps.array<double>(s.c * n),
               norm = steps.array<double>(nb);
    if (!program.loss.curvature(z, h.data())) return false;
    program.loss.gradient(z, theta.data());
    steps.copy(s.size(), v, next);
    steps.block_norms(nb, w, v, norm.data());
    const double* length = norm.fetch();
    const index_t* size = s.cone ? sets.counts.fetch() : nullptr;

    for (index_t k = 0; k < s.c; ++k) {
        std::vector<index_t> owner, block, first;
        for (int sign = 0; sign < s.signs; ++sign)
            for (index_t b = (sign * s.c + k) * per_output; b < (sign * s.c + k + 1) * per_output;
                 ++b) {
                const index_t columns = w - (size ? size[b] : 0);
                if (!(length[b] > 0) || columns == 0) continue;
                first.push_back(static_cast<index_t>(owner.size()));
                owner.insert(owner.end(), static_cast<std::size_t>(columns),
                             static_cast<index_t>(block.size()));
                block.push_back(b);
            }
        const index_t m = static_cast<index_t>(owner.size()),
                      active = static_cast<index_t>(block.size());
        if (m == 0) continue;
        if (m > cap) return false;
        first.push_back(m);
        const auto table = steps.array<index_t>(m + 2 * active + 1);
        std::copy(owner.begin(), owner.end(), table.mirror());
        std::copy(block.begin(), block.end(), table.mirror() + m);
        std::copy(first.begin(), first.end(), table.mirror() + m + active);
        table.send();
        const auto basis = steps.array<double>(m * w), t = steps.array<double>(m),
                   f = steps.array<double>(checked_product(n, m)), step = steps.array<double>(m),
                   hessian = steps.array<double>(checked_product(m, m));
        const FaceArguments a = {n,
                                 d,
                                 w,
                                 per_output,
                                 s.c,
                                 m,
                                 active,
                                 table.data(),
                                 table.data() + m,
                                 table.data() + m + active,
                                 basis.data(),
                                 t.data(),
                                 f.data(),
                                 step.data(),
                                 hessian.data()};
        if (s.cone) {
            const auto left = steps.array<double>(active * d), c = steps.array<double>(active * d);
            launch(queue.stream(), cone_blocks(active), cone_threads, 0, face_bases, a,
                   sets.counts.data(), sets.q.data(), left.data(), c.data());
        } else {
            each(steps, m * w, UnitBases{a});
        }
        each(steps, m, FaceCoordinates{a, v});

        // Rows sqrt(L'') F_A Z, and the gradient through F_A Z.
        const double* x = program.kernel_x.data();
        if (s.single_columns)
            each(steps, n * m, SingleColumns{a, x});
        else
            gemm<double>(queue, false, true, n, m, d, 1.0, x, d, basis.data(), d, 0.0, f.data(), m);
        each(steps, n * m, GateFace{a, s.single_columns ? nullptr : program.kernel_gates.data()});
        gemm<double>(queue, false, false, 1, m, n, -1.0, theta.data() + k * n, n, f.data(), m, 0.0,
                     step.data(), m);
        each(steps, n * m, RootFace{a, h.data() + k * n});
        syrk<double>(queue, m, n, 1.0, f.data(), m, 0.0, hessian.data(), m);
        const double trace = reduce<double, Plus>(steps, m, Diagonal{m, hessian.data()});
        const double shift = 1e-13 * (trace / static_cast<double>(m) + 1e-300);
        each(steps, m, AddNorms{a, beta, shift, norm.data()});
        if (!potrf<double>(queue, m, hessian.data(), m)) return false;
        potrs<double>(queue, m, hessian.data(), m, step.data());
        each(steps, active * w, MoveBlocks{a, next});
    }
    return true;
}

template class Design<double>;
template class Design<float>;
template class GramSystem<double>;
template class GramSystem<float>;
template class GateBlocks<double>;
template class GateBlocks<float>;
template void Loss::prox<double>(const double*, double, double*) const;
template void Loss::prox<float>(const float*, double, float*) const;

} // namespace fastopt
