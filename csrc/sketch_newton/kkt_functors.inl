// What the Krylov solvers do to one number, for every backend: of doubles, n of them. Included
// inside a namespace.

// q = K v without what lies along the last two Lanczos vectors; the square of what is left.
// Bytes: reads 24 n + 8; writes 8 n.
struct LanczosRest {
    const double* alpha;
    double beta;
    const double* v;
    const double* v_old;
    double* q;
    FASTOPT_HD double operator()(index_t i) const {
        q[i] -= alpha[0] * v[i] + beta * v_old[i];
        return q[i] * q[i];
    }
};
// p = (v - r2 p_old - r3 p_older) / r1 in the place of p_older, d += step p, and the next v.
// Bytes: reads 40 n; writes 32 n.
struct MinresStep {
    double r1, r2, r3, step, beta;
    const double* q;
    const double* p_old;
    double* p_older;
    double* d;
    double* v;
    double* v_old;
    FASTOPT_HD void operator()(index_t i) const {
        const double p = (v[i] - r2 * p_old[i] - r3 * p_older[i]) / r1;
        p_older[i] = p;
        d[i] += step * p;
        v_old[i] = v[i], v[i] = q[i] / beta;
    }
};

// Rows of `width` numbers by one each, which divides where it is positive.
// Bytes: reads 8 n + 8 rows; writes 8 n.
struct DividedRows {
    index_t width;
    const double* by;
    double* a;
    FASTOPT_HD void operator()(index_t at) const {
        if (by[at / width] > 0) a[at] /= by[at / width];
    }
};
// Bytes: reads 8 n + 8 rows; writes 8 n.
struct TimesRows {
    index_t width;
    const double* by;
    double* a;
    FASTOPT_HD void operator()(index_t at) const { a[at] *= by[at / width]; }
};
// Bytes: reads 8 n; writes 8 n.
struct Divided {
    double by;
    double* x;
    FASTOPT_HD void operator()(index_t i) const { x[i] /= by; }
};
