// The mathematics of the published splitting, for every backend: included inside a namespace.

// a = rv (v - lambda) + rs G'|q|. Bytes: reads (16 + T) count; writes T count.
template <class T> struct PaperRightHandSide {
    double rv, rs;
    const double* v;
    const double* lambda;
    const T* gq;
    T* a;
    FASTOPT_HD void operator()(index_t i) const {
        a[i] = static_cast<T>(rv * (v[i] - lambda[i])) + static_cast<T>(rs) * gq[i];
    }
};

// One block: v = shrink(u + lambda), lambda += u - v; adds ||u - v||^2 and ||v||^2.
template <class T> struct PaperShrink {
    double level;
    index_t d;
    const T* u;
    double* v;
    double* lambda;
    FASTOPT_HD void operator()(index_t b, double& off, double& size) const {
        double norm = 0;
        for (index_t j = b * d; j < (b + 1) * d; ++j) {
            lambda[j] += static_cast<double>(u[j]);
            norm += lambda[j] * lambda[j];
        }
        norm = ::sqrt(norm);
        const double factor = norm > level ? 1 - level / norm : 0.0;
        for (index_t j = b * d; j < (b + 1) * d; ++j) {
            v[j] = factor * lambda[j];
            lambda[j] -= v[j];
            const double off_j = static_cast<double>(u[j]) - v[j];
            off += off_j * off_j;
            size += v[j] * v[j];
        }
    }
};

// One number of a block's constraints: from pre = X u to e |q| in its place, q = e X u - q_-, where
// e = +-1 is the gate; adds (e X u - s)^2 and s^2.
template <class T> struct PaperConeRow {
    index_t n, p;
    const T* gates;
    T* q;
    T* pre;
    FASTOPT_HD void operator()(index_t b, index_t j, double& off, double& size) const {
        const index_t at = b * n + j;
        const T e = 2 * gates[b % p * n + j] - 1, g = e * pre[at];
        const T next = g + (q[at] < 0 ? q[at] : T(0));
        const T s = next > 0 ? next : T(0);
        q[at] = next;
        pre[at] = e * (next < 0 ? -next : next);
        off += static_cast<double>((g - s) * (g - s));
        size += static_cast<double>(s * s);
    }
};

template <class T> struct PaperRescale { // q_- /= factor; out = e |q|
    double factor;
    index_t n, p;
    const T* gates;
    T* q;
    T* out;
    FASTOPT_HD void operator()(index_t b, index_t j) const {
        const index_t at = b * n + j;
        const T e = 2 * gates[b % p * n + j] - 1;
        if (q[at] < 0) q[at] /= static_cast<T>(factor);
        const T x = q[at];
        out[at] = e * (x < 0 ? -x : x);
    }
};
