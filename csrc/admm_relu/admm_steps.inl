// The steps that are the same for every backend once `each(steps, n, f)`, which calls f(i) for
// i < n, is defined. Included by admm_steps.cpp and by admm_steps.cu.

template <class A, class B> void AdmmSteps::convert(index_t n, const A* from, B* to) {
    each(*this, n, Convert<A, B>{from, to});
}
template <class T> void AdmmSteps::subtract(index_t n, const T* a, const T* b, T* out) {
    each(*this, n, Subtract<T>{a, b, out});
}
template <class T> void AdmmSteps::add(index_t n, const T* a, const T* b, T* out) {
    each(*this, n, Add<T>{a, b, out});
}
void AdmmSteps::scale(index_t n, double s, const double* x, double* out) {
    each(*this, n, Scale{s, x, out});
}
void AdmmSteps::scaled_difference(index_t n, double s, const double* a, const double* b,
                                  double* out) {
    each(*this, n, ScaledDifference{s, a, b, out});
}
template <class T> void AdmmSteps::reflect(index_t n, const double* x, const double* r, T* out) {
    each(*this, n, Reflect<T>{x, r, out});
}
template <class T>
void AdmmSteps::relax(index_t n, double factor, const T* r, const T* u, const double* x, T* rn) {
    each(*this, n, Relax<T>{factor, r, u, x, rn});
}
void AdmmSteps::gradient_step(index_t n, double rho, const double* x, double* g) {
    each(*this, n, GradientStep{rho, x, g});
}
template <class T>
void AdmmSteps::add_multiplier(index_t n, double rho, const double* f, const double* t, T* r) {
    each(*this, n, AddMultiplier<T>{rho, f, t, r});
}
void AdmmSteps::between(index_t n, double t, const double* a, const double* b, double* out) {
    each(*this, n, Between{t, a, b, out});
}
template <class T>
void AdmmSteps::rescale(index_t n, double factor, const double* x, const T* rn, T* r) {
    each(*this, n, Rescale<T>{factor, x, rn, r});
}
template <class T> void AdmmSteps::add_scaled(index_t n, double s, const T* x, T* e) {
    each(*this, n, AddScaled<T>{s, x, e});
}
template <class T> void AdmmSteps::scale_and_add(index_t n, double s, const T* x, T* y) {
    each(*this, n, ScaleAndAdd<T>{s, x, y});
}
template <class T>
void AdmmSteps::advance_rows(index_t count, index_t n, const double* rho, const double* curvature,
                             const T* q, const T* g, T* x, T* r) {
    each(*this, count * n, AdvanceRows<T>{n, rho, curvature, q, g, x, r});
}
template <class T>
void AdmmSteps::turn_rows(index_t count, index_t n, const double* rho, const double* next,
                          const T* y, T* q) {
    each(*this, count * n, TurnRows<T>{n, rho, next, y, q});
}
template <class T>
void AdmmSteps::transpose(index_t count, index_t rows, index_t columns, const T* from, T* to) {
    each(*this, count * rows * columns, Transpose<T>{rows, columns, from, to});
}
template <class T>
void AdmmSteps::step_halves(index_t half, int signs, double s, const T* a, const T* g, T* u) {
    each(*this, half, StepHalves<T>{s, half, signs, a, g, u});
}
template <class T>
void AdmmSteps::join_halves(index_t half, int signs, const T* a, const T* delta, T* u) {
    each(*this, half, JoinHalves<T>{half, signs, a, delta, u});
}
template <class T>
void AdmmSteps::next_differences(index_t n, const T* rn, T* last_rn, T* last_g, T* dg, T* dr) {
    each(*this, n, NextDifferences<T>{rn, last_rn, last_g, dg, dr});
}

#define FASTOPT_ADMM_STEPS(T)                                                                      \
    template void AdmmSteps::convert(index_t, const T*, double*);                                  \
    template void AdmmSteps::subtract(index_t, const T*, const T*, T*);                            \
    template void AdmmSteps::add(index_t, const T*, const T*, T*);                                 \
    template void AdmmSteps::reflect(index_t, const double*, const double*, T*);                   \
    template void AdmmSteps::relax(index_t, double, const T*, const T*, const double*, T*);        \
    template void AdmmSteps::add_multiplier(index_t, double, const double*, const double*, T*);    \
    template void AdmmSteps::rescale(index_t, double, const double*, const T*, T*);                \
    template void AdmmSteps::add_scaled(index_t, double, const T*, T*);                            \
    template void AdmmSteps::scale_and_add(index_t, double, const T*, T*);                         \
    template void AdmmSteps::row_dots(index_t, index_t, const T*, const T*, double*);              \
    template void AdmmSteps::advance_rows(index_t, index_t, const double*, const double*,          \
                                          const T*, const T*, T*, T*);                             \
    template void AdmmSteps::turn_rows(index_t, index_t, const double*, const double*, const T*,   \
                                       T*);                                                        \
    template void AdmmSteps::transpose(index_t, index_t, index_t, const T*, T*);                   \
    template void AdmmSteps::step_halves(index_t, int, double, const T*, const T*, T*);            \
    template void AdmmSteps::join_halves(index_t, int, const T*, const T*, T*);                    \
    template void AdmmSteps::next_differences(index_t, const T*, T*, T*, T*, T*);                  \
    template AdmmSteps::Distances AdmmSteps::distances(index_t, const double*, const double*,      \
                                                       const double*, const T*);                   \
    template double AdmmSteps::inner(index_t, index_t, const T*, const T*, double, double);        \
    template void AdmmSteps::inners(index_t, const T*, index_t, index_t, const T*, const T*,       \
                                    double, double, double*, double*);                             \
    template void AdmmSteps::subtract_rows(index_t, const double*, const T*, index_t, T*);
FASTOPT_ADMM_STEPS(double)
FASTOPT_ADMM_STEPS(float)
#undef FASTOPT_ADMM_STEPS
template void AdmmSteps::convert(index_t, const double*, float*);
