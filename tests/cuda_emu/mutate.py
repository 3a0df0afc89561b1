"""Plants faults in the CUDA backend, one at a time, and checks that the emulated tests catch each.

    python tests/cuda_emu/mutate.py <build folder> [name ...]

The build folder holds a configured build with FASTOPT_TESTS=ON whose targets test_cuda_cbo,
test_cuda_admm and test_cuda_sketch are built; for faults in csrc/bindings, with FASTOPT_PYTHON=ON
and cuda_emu_module, and python/fastopt finds its _cpu (CONTRIBUTING.md).
Exit code 1 if a fault passes unseen.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOISE = "cbo/cbo_cuda.cuh"
ADMM = "admm_relu/admm_cuda.cuh"
CONE = "admm_relu/cone_cuda.cuh"
DESIGN = "admm_relu/design_cuda.cuh"
LOSS = "admm_relu/loss_cuda.cuh"
ADMM_NUMBERS = "admm_relu/admm_functors.inl"
ROBUST = "admm_relu/robust_functors.inl"
PAPER = "admm_relu/paper_cuda.cuh"
PAPER_LAUNCH = "admm_relu/paper_steps.cu"
LAUNCH = "admm_relu/admm_steps.cu"
KKT = "sketch_newton/kkt_cuda.cuh"
KKT_LAUNCH = "sketch_newton/kkt_steps.cu"
KRYLOV = "sketch_newton/kkt_functors.inl"
DATA = "sketch_newton/data_cuda.cuh"
SKETCH = "sketch_newton/sketch_cuda.cuh"
SKETCH_LAUNCH = "sketch_newton/sketch_steps.cu"
REDUCE = "backend/reduce.cuh"
EACH = "backend/launch.cuh"
QUEUE = "backend/cuda_queue.cuh"
EXCHANGE = "backend/exchange_cuda.cuh"
LENT = "bindings/dlpack.cpp"
RESIDENT = "bindings/cuda.cpp"
SYNC = "    __syncthreads();\n"
MODULE = "cuda_emu_module"
TESTS = {  # by the room of the fault
    "cbo": ["test_cuda_cbo"],
    "admm_relu": ["test_cuda_admm"],
    "sketch_newton": ["test_cuda_sketch"],
    "backend": ["test_cuda_cbo", "test_cuda_admm", "test_cuda_sketch"],
    "bindings": ["cuda_emu_module"],
}

# name: (file, what stands there, what the fault puts in its place); white space matches any.
FAULTS = {
    "block_reduce: read before the warps have written": (
        REDUCE,
        SYNC + "    V result",
        "    V result",
    ),
    "block_reduce: shared memory used again too early": (
        REDUCE,
        SYNC + "    return result",
        "    return result",
    ),
    "chain_sums: added before the tile is full": (
        REDUCE,
        "= value(base + t);\n    " + SYNC,
        "= value(base + t);\n",
    ),
    "chain_sums: next tile before the last is added": (
        REDUCE,
        "tile[j] * tile[j];\n        }\n    " + SYNC,
        "tile[j] * tile[j];\n        }\n",
    ),
    "noise: one coordinate too many": (NOISE, "at < end)", "at <= end)"),
    "noise: the last group of an unaligned row is missing": (
        NOISE,
        "(segment / group + 2)",
        "(segment / group + 1)",
    ),
    "noise: memory draws the same numbers twice": (NOISE, "draw.stream + 1", "draw.stream"),
    "row_scales: half of the partial sums lost": (
        NOISE,
        "unsigned half = sum_lanes / 2",
        "unsigned half = sum_lanes / 4",
    ),
    "evaluate: a coupled term beyond the row": (
        NOISE,
        "F::coupled ? d - 1 : d",
        "d",
    ),
    "evaluate: rows of the tail not guarded": (
        NOISE,
        "        if (i < n && lane == 0)\n",
        "        if (lane == 0)\n",
    ),
    "remember: values change while lanes still read them": (
        NOISE,
        "        __syncwarp();",
        "       ",
    ),
    "polarize: exponents overwritten while they are read": (
        NOISE,
        "        __syncthreads(); // the next",
        "        // the next",
    ),
    "polarize: the wrong leading dimension": (NOISE, "w * x[j * d + k]", "w * x[j * d]"),
    "weighted_sums: the last block reads beyond the rows": (
        NOISE,
        "(b + 1) * block_rows < n ? (b + 1) * block_rows : n",
        "(b + 1) * block_rows",
    ),
    "divide_sums: the first block counted twice": (NOISE, "index_t b = 1;", "index_t b = 0;"),
    "tidy: ties go to any row": (NOISE, "less || (equal && b.row < a.row)", "less || equal"),
    "tidy: what is not a number stays": (NOISE, "f[r] == f[r] ? f[r] : infinity", "f[r]"),
    "a loop that strides by the block only": (
        "backend/launch.cuh",
        "return blocks() * threads();",
        "return threads();",
    ),
    "download: no wait": (
        "backend/cuda.cu",
        '        check(cudaStreamSynchronize(queue.stream()), "waiting for the device");\n'
        "        std::memcpy(static_cast<char*>(to)",
        "        std::memcpy(static_cast<char*>(to)",
    ),
    "upload: the pinned buffer used again too early": (
        "backend/cuda.cu",
        '"a copy to the device");\n'
        '        check(cudaStreamSynchronize(queue.stream()), "waiting for the device");',
        '"a copy to the device");',
    ),
    "allocate: not zeroed": (
        "backend/cuda.cu",
        "check(cudaMemsetAsync(p, 0, static_cast<std::size_t>(bytes), queue.stream()), ",
        "check(cudaSuccess, ",
    ),
    "gemm: leading dimensions exchanged": (
        "backend/cuda.cu",
        "&alpha, b, narrow(ldb), a, narrow(lda)",
        "&alpha, b, narrow(lda), a, narrow(ldb)",
    ),
    "syrk: the other triangle": (
        "backend/cuda.cu",
        "(h, CUBLAS_FILL_MODE_UPPER, CUBLAS_OP_N",
        "(h, CUBLAS_FILL_MODE_LOWER, CUBLAS_OP_N",
    ),
    "weighted_mean: a host pointer for the kernel": (
        "kernels.cu",
        "n_blocks, d_, mean_.data());",
        "n_blocks, d_, c);",
    ),
    "move: a launch is missing": (
        "kernels.cu",
        "over(*queue_, n * sum_lanes, row_scales<T>, a, scale_.data(), scale_.data() + n_);",
        "",
    ),
    "each: the last number is missing": (
        EACH,
        "i < n; i += stride()) f(i);",
        "i + 1 < n; i += stride()) f(i);",
    ),
    "each: one number too many": (
        EACH,
        "i < n; i += stride()) f(i);",
        "i <= n; i += stride()) f(i);",
    ),
    "reduce_parts: one number too many": (
        REDUCE,
        "i < n; i += stride()) value",
        "i <= n; i += stride()) value",
    ),
    "reduce_parts: every block writes the first part": (
        REDUCE,
        "part[block()] = value",
        "part[0] = value",
    ),
    "fold_parts: threads begin at the second part": (
        REDUCE,
        "index_t i = thread(); i < n",
        "index_t i = thread() + 1; i < n",
    ),
    "fold_parts: the launch is missing": (QUEUE, "if (grid > 1)", "if (grid > 100000)"),
    "row_products: pieces overlap": (ADMM, "i += parts * threads())", "i += threads())"),
    "row_products: the second weight everywhere": (
        ADMM,
        "const double w = i < n1 ? w1 : w2, x",
        "const double w = w2, x",
    ),
    "fold_pieces: the first piece twice": (
        ADMM,
        "index_t k = 1; k < parts",
        "index_t k = 0; k < parts",
    ),
    "subtract_rows: the wrong leading dimension": (ADMM, "rows[j * n + i];", "rows[j + i];"),
    "subtract_rows: a host pointer": (LAUNCH, "coefficients_.data(), rows, r}", "gamma, rows, r}"),
    "shrink: the neighbour's norm": (
        ADMM,
        "shrink_factor(norm[i / w], level)",
        "shrink_factor(norm[i / (w + 1)], level)",
    ),
    "signature: rows are ignored": (ADMM, "counts && k < counts[b]", "counts && k < 0"),
    "gated_sum: added before all lanes have written": (
        DESIGN,
        "tile[thread()] = sum;\n        __syncthreads();",
        "tile[thread()] = sum;",
    ),
    "gated_sum: tile used again too early": (
        DESIGN,
        "z[k * n + j] = sum;\n        }\n        __syncthreads();",
        "z[k * n + j] = sum;\n        }",
    ),
    "gated_sum: outputs share the first weights": (
        DESIGN,
        "from[(k * p + i) * n + j]",
        "from[i * n + j]",
    ),
    "gated: the gates of the first output only": (
        DESIGN,
        "gates[r % p * n + j] * q",
        "gates[r * n + j] * q",
    ),
    "gated columns: every piece has the first rows' gates": (
        DESIGN,
        "gates[g * n + first + r]",
        "gates[g * n + r]",
    ),
    "gram: pieces overwrite each other": (LAUNCH, "T(first > 0)", "T(0)"),
    "gram: no identity": (DESIGN, "(i == j ? T(1) : T(0))", "T(0)"),
    "gram: the upper triangle of the inverse is missing": (
        LAUNCH,
        "each(steps, size_ * size_, MirrorLower<T>{size_, inverse_.data()});",
        "",
    ),
    "potri: a factor is taken for the inverse": (
        LAUNCH,
        "potri<T>(queue, size_, inverse_.data(), size_);",
        "",
    ),
    "row_dots: every row is the first": (
        ADMM,
        "i = k * n + thread(); i < (k + 1) * n;",
        "i = thread(); i < n;",
    ),
    "row_dots: as many rows as blocks": (
        ADMM,
        "k < count; k += blocks()) {\n        double sum",
        "k < count; k += count) {\n        double sum",
    ),
    "gate products: of the first gate": (DESIGN, "block % p * d * d + l", "l"),
    "gate products: the next output's gates": (
        DESIGN,
        "block % p * d * d + l",
        "block * d * d + l",
    ),
    "gate blocks: no inverse": (LAUNCH, "potri<T>(queue, d, block, d);", ""),
    "gate blocks: the upper triangle of the inverse is missing": (
        LAUNCH,
        "each(steps, d * d, MirrorLower<T>{d, block});",
        "",
    ),
    "advance_rows: the residual stays": (ADMM_NUMBERS, "r[i] -= alpha * g[i];", ""),
    "advance_rows: a step where there is no curvature": (ADMM_NUMBERS, "|| !(b > 0)", ""),
    "turn_rows: the scalars of the first row": (
        ADMM_NUMBERS,
        "next[i / n] / last",
        "next[0] / last",
    ),
    "turn_rows: steepest descent": (ADMM_NUMBERS, "y[i] + ratio * q[i]", "y[i]"),
    "scale_and_add: nothing scaled": (
        ADMM_NUMBERS,
        "x[i] + static_cast<T>(s) * y[i]",
        "x[i] + y[i]",
    ),
    "transpose: rows for columns": (
        ADMM_NUMBERS,
        "rest % rows * columns + rest / rows",
        "rest % columns * rows + rest / columns",
    ),
    "transpose: the first matrix only": (ADMM_NUMBERS, "from[first + rest", "from[rest"),
    "robust: the adversary helps": (ROBUST, "f - y * h", "f + y * h"),
    "robust: the adversary pushes up only": (ROBUST, "f + ::copysign(h, f - y)", "f + h"),
    "robust slopes: the box has no size": (ROBUST, "theta * a.radius[k], slope", "theta, slope"),
    "robust slopes: theta has a sign": (ROBUST, "theta = vabs(tau);", "theta = tau;"),
    "robust excess: without weights": (ROBUST, "tau * tau) / a.weight(j)", "tau * tau)"),
    "robust excess: all of theta": (ROBUST, "(theta * theta - tau * tau)", "(theta * theta)"),
    "robust prox: another sample's numbers": (
        ROBUST,
        "a.x + j * a.d, a.radius",
        "a.x + j, a.radius",
    ),
    "robust prox: the dual point leaves its box": (
        ROBUST,
        "middle - wide, middle + wide",
        "middle - 2 * wide, middle + 2 * wide",
    ),
    "robust prox: hinge margins beyond one": (ROBUST, "if (margin() >= 1) return;", ""),
    "loss: samples without weight count": (LOSS, "if (!(s > 0)) return 0;", ""),
    "loss: softmax works in its own input": (LOSS, "k, a.row(1, j), a.n", "k, a.row(0, j), a.n"),
    "loss: an output's targets are another's": (
        LOSS,
        "loss_prox(a.kind(), at, a.y[i], k",
        "loss_prox(a.kind(), at, a.y[j], k",
    ),
    "unit columns: stored by rows": (
        CONE,
        "x[k * n + j] = length > 0",
        "x[j * d + k] = length > 0",
    ),
    "cones: coefficients read before they are written": (
        CONE,
        "__syncwarp(); // all of c is there",
        "",
    ),
    "cones: triangular solve runs ahead": (
        CONE,
        "__syncwarp();\n                const double* column",
        "const double* column",
    ),
    "cones: rows with negative multipliers stay": (
        CONE,
        "if (next[j] > 0) continue;",
        "if (next[j] > -1) continue;",
    ),
    "cones: rotated before everyone has read": (
        CONE,
        "__syncwarp(); // everyone has read a and b",
        "",
    ),
    "cones: a new column is not cleared": (CONE, "column[l] = 0;", ""),
    "cones: candidates overwrite each other": (
        CONE,
        "kept + __popc(taken & ((1u << lane) - 1))",
        "kept",
    ),
    "cones: X v is not computed again": (CONE, "xv[j] = product(j);", ""),
    "cones: the entering row changes while it is read": (
        CONE,
        "__syncwarp(); // everyone has read them",
        "",
    ),
    "cones: short projections are kept": (
        CONE,
        "const bool zero = length <= level;",
        "const bool zero = false;",
    ),
    "cones: every block has the first gate": (
        CONE,
        "gate(a.gates + k % a.p * a.n)",
        "gate(a.gates)",
    ),
    "robust cones: boxes of unit samples": (
        CONE,
        "radius ? reach * inverse_length[j]",
        "radius ? reach",
    ),
    "robust cones: slopes take from the reach": (
        CONE,
        "radius[l] * vabs(v[l])",
        "radius[l] * v[l]",
    ),
    "robust cones: the best corner enters": (
        CONE,
        "row[l] -= ::copysign(",
        "row[l] += ::copysign(",
    ),
    "robust cones: the reach of the start": (
        CONE,
        "while (budget > 0) {\n                measure_reach();",
        "while (budget > 0) {",
    ),
    "robust cones: violations without boxes": (CONE, "cone.measure_reach();", ""),
    "violations: not relative": (CONE, "length > 0 ? worst / length : 0.0", "worst"),
    "violations: the best row": (
        CONE,
        "worst = warp_reduce(worst, Larger());\n        if (cone.lane",
        "if (cone.lane",
    ),
    "face_bases: a unit vector twice": (
        CONE,
        "l == farthest ? -1.0 : left[l] - e[l] * e[l]",
        "left[l] - 0 * e[l]",
    ),
    "face_bases: read before it is whole": (
        CONE,
        "e[l] = l == farthest ? 1.0 : 0.0;\n            __syncwarp();",
        "e[l] = l == farthest ? 1.0 : 0.0;",
    ),
    "newton: the second half has the sign of the first": (CONE, "b / (p * c) ? -1.0 : 1.0", "1.0"),
    "newton: no curvature of the norm": (
        CONE,
        "beta / length * ((i == j ? 1.0 : 0.0)",
        "0 * ((i == j ? 1.0 : 0.0)",
    ),
    "newton: a block moves by its neighbour's columns": (
        CONE,
        "j < a.first[k + 1]; ++j)",
        "j <= a.first[k + 1]; ++j)",
    ),
    "newton: the gradient of the first output": (
        LAUNCH,
        "theta.data() + k * n, n, f.data()",
        "theta.data(), n, f.data()",
    ),
    "paper_shrink: lambda keeps the last step": (PAPER, "lambda[j] = left;", ""),
    "paper_shrink: parts of one block only": (PAPER, "part[block()] = sum;", "part[0] = sum;"),
    "paper cones: the gates of the first output only": (
        "admm_relu/paper_functors.inl",
        "gates[b % p * n + j] - 1, g",
        "gates[b * n + j] - 1, g",
    ),
    "paper cones: the last block's neighbour": (
        PAPER,
        "row(b, at - b * row.n, sum.a, sum.b)",
        "row(b, at, sum.a, sum.b)",
    ),
    "paper cones: both parts of q": (PAPER, "x > 0 ? 0.0 : square", "square"),
    "paper: C is not inverted": (
        PAPER_LAUNCH,
        "trsm<T>(queue, true, false, d, d, c.data(), d, factor_.data(), d);",
        "",
    ),
    "paper: C is transposed": (
        PAPER_LAUNCH,
        "false, true, nb_, d_, d_, T(1), u_.data()",
        "false, false, nb_, d_, d_, T(1), u_.data()",
    ),
    "paper: no shift of the diagonal": (PAPER, "a[i * d + i] +=", "a[i * d + i] -= 0 *"),
    "paper: negative neurons count as positive": (PAPER, "sum += s ? -x : x;", "sum += x;"),
    "trsm: from the other side": (
        PAPER_LAUNCH,
        "trsm<T>(queue, true, false",
        "trsm<T>(queue, false, true",
    ),
    "sketch: words beyond the end": (SKETCH, "if (first + m * lanes < count)", ""),
    "sketch: a normal beyond the end": (SKETCH, "to >= end", "to > end"),
    "sketch: sums read before they are written": (
        SKETCH,
        "sums[thread()] = sum;\n" + SYNC,
        "sums[thread()] = sum;\n",
    ),
    "sketch: entries of a row overwrite each other": (SKETCH, "before++] = 2", "before] = 2"),
    "sketch: pieces begin at their own entries": (
        SKETCH,
        "counts[p * size + row] = sum; sum += count;",
        "sum += count; counts[p * size + row] = sum;",
    ),
    "sketch: the last piece reads beyond the columns": (
        SKETCH,
        "(p + 1) * piece < n ? (p + 1) * piece : n",
        "(p + 1) * piece",
    ),
    "sketch: no negative entries": (SKETCH, "entry[q] % 2 ? -size : size", "size"),
    "sketch: scales of the rows of S": (
        SKETCH,
        "by * scale[i] : by;\n            sum",
        "by * scale[r] : by; sum",
    ),
    "sketch: padding holds what lies behind A": (SKETCH, "if (i >= n) {", "if (i > n) {"),
    "sketch: butterflies of neighbours": (
        SKETCH,
        "v[r] = first[r * h * d];",
        "v[r] = first[r * h];",
    ),
    "sketch: the last levels of the transform are missing": (
        SKETCH_LAUNCH,
        "butterflies<T, 1>(*queue, length, h, d, x.data());",
        "",
    ),
    "sketch: a host pointer": (
        SKETCH_LAUNCH,
        "s.mixed, row.data(), factor",
        "s.mixed, s.row.data(), factor",
    ),
    "kkt: weights are ignored": (
        KKT_LAUNCH,
        "gpu::apply(queue, gram_.a.rows, TimesEach{w_.data(), rows_.data()});",
        "",
    ),
    "kkt: roots of negative weights": (KKT_LAUNCH, "negative ? 0 : 1", "1"),
    "kkt: the upper triangle of W is missing": (KKT, "w[at] = w[j * n + i] = x;", "w[at] = x;"),
    "kkt: R off the diagonal": (KKT, "else if (i == j)", "else"),
    "kkt: J is not transposed": (KKT, "to[at % n * m + at / n] = from[at]", "to[at] = from[at]"),
    "kkt: the factor of P is not transposed": (
        KKT_LAUNCH,
        "true, n, n, 1.0, p_.data(), n, t",
        "false, n, n, 1.0, p_.data(), n, t",
    ),
    "kkt: S is not inverted": (
        KKT_LAUNCH,
        "fastopt::trsm<double>(true, false, m, m, l.data(), m, s_.mirror(), m);",
        "",
    ),
    "kkt: what is no number hides": (KKT, "(x < HUGE_VAL ? x : HUGE_VAL)", "x"),
    "kkt: D without its blocks of two": (KKT, "i > 0 ? a[i * size + i - 1] : 0.0", "0.0"),
    "kkt: dc has the wrong sign": (KKT, "i == c ? -dc : 0.0", "i == c ? dc : 0.0"),
    "kkt: residuals shift by dw everywhere": (KKT, "(i < n ? dw : -dc) * d[i]", "dw * d[i]"),
    "kkt: P without its ridge": (
        KKT,
        "1e-14 * trace[0] / static_cast<double>(n) + diagonal[i]",
        "diagonal[i]",
    ),
    "kkt: the step ignores the constraints' values": (
        KKT_LAUNCH,
        "if (b) gpu::apply(*queue_, m, Add{-1.0, b, y});",
        "",
    ),
    "glm: curvature without the samples' weights": (
        "sketch_newton/glm_functors.inl",
        "w[i] = c * one.second",
        "w[i] = factor * one.second",
    ),
    "gemv: rows and columns exchanged": (
        "backend/cuda.cu",
        "op(!transpose), narrow(n), narrow(m), &alpha, a, narrow(lda), x",
        "op(!transpose), narrow(m), narrow(n), &alpha, a, narrow(lda), x",
    ),
    "gemv: y is added to twice": (
        "backend/cuda.cu",
        "narrow(lda), x, 1, &beta, y, 1)",
        "narrow(lda), x, 1, &alpha, y, 1)",
    ),
    "sytrf: the other triangle": (
        "backend/cuda.cu",
        "cusolverDnDsytrf(handle, CUBLAS_FILL_MODE_UPPER",
        "cusolverDnDsytrf(handle, CUBLAS_FILL_MODE_LOWER",
    ),
    "sytrs: pivots of no exchange": (KKT, "to[i] = from[i]", "to[i] = i + 1"),
    "kkt: J is that of the last step": (
        KKT_LAUNCH,
        "m > 0 && (!same || j_.size() != m * n)",
        "m > 0 && j_.size() != m * n",
    ),
    "kkt: a dense W is that of the last step": (
        KKT_LAUNCH,
        "dense && (!same || w_.size() != n * n)",
        "dense && w_.size() != n * n",
    ),
    "kkt: all rows have the length of the last": (KKT_LAUNCH, "sums.data() + i);", "sums.data());"),
    "kkt: the host's products with what it saw before": (
        KKT_LAUNCH,
        "download(*queue_, v_.mirror(), v, bytes);",
        "",
    ),
    "minres: the vector before the last is forgotten": (
        KRYLOV,
        "alpha[0] * v[i] + beta * v_old[i]",
        "alpha[0] * v[i]",
    ),
    "minres: the length without squares": (KRYLOV, "return q[i] * q[i];", "return q[i];"),
    "minres: the direction before the last is forgotten": (
        KRYLOV,
        "- r3 * p_older[i]) / r1",
        ") / r1",
    ),
    "minres: v moves alone": (KRYLOV, "v_old[i] = v[i], v[i]", "v[i]"),
    "rows: nothing divides": (KRYLOV, "if (by[at / width] > 0) a", "a"),
    "rows: divided by the first row's": (KRYLOV, "a[at] /= by[at / width]", "a[at] /= by[0]"),
    "rows: times the first row's": (KRYLOV, "a[at] *= by[at / width]", "a[at] *= by[0]"),
    "rows: replaced": (KRYLOV, "a[at] *= by[at / width]", "a[at] = by[at / width]"),
    "divided: the inverse is rounded first": (KRYLOV, "x[i] /= by", "x[i] *= 1 / by"),
    "divided: multiplied": (KRYLOV, "x[i] /= by", "x[i] *= by"),
    "csr: one entry too many": (DATA, "e < end; e += warp_size", "e <= end; e += warp_size"),
    "csr: products with the first vector only": (DATA, "x + k * length", "x"),
    "csr: the parts of the first vector": (DATA, "sums[k * parts + p]", "sums[p]"),
    "csr: the first part of a column only": (
        DATA,
        "p < first[j + 1]; ++p",
        "p < first[j] + 1; ++p",
    ),
    "csr: rows of S are not cleared": (DATA, "to[j] = 0;", ";"),
    "csr: lanes share a row that names a column twice": (
        DATA,
        "a.distinct ? warp_size : 1",
        "warp_size",
    ),
    "csr: rows overtake each other": (
        DATA,
        "factor * a.values[e];\n            __syncwarp();",
        "factor * a.values[e];",
    ),
    "csr: no negative entries": (DATA, "entry[q] % 2 ? -size : size", "size"),
    "csr: entries name rows and signs": (DATA, "return entry[q] / 2;", "return entry[q] % 2;"),
    "csr: padding holds what lies behind A": (DATA, "return r < n ? r : n;", "return r;"),
    "csr: no negative rows": (DATA, "sign[i / 32] >> (i % 32) & 1u ? -size : size", "size"),
    "csr: rows drawn for others": (DATA, "return r * mixed;", "return r;"),
    "csr: one factor for all rows drawn": (DATA, "<T>(factors[q])", "<T>(factors[0])"),
    "csr: every part of W from the first rows": (DATA, "return from + q;", "return q;"),
    "csr: weights for their roots": (DATA, "roots ? vsqrt(w[i]) : w[i]", "w[i]"),
    "exchange: rows begin at the neighbour's column": (EXCHANGE, "i - row * from.cols", "i"),
    "exchange: strides of rows and columns exchanged": (
        EXCHANGE,
        "row * from.row_stride + col * from.col_stride",
        "row * from.col_stride + col * from.row_stride",
    ),
    "exchange: nobody waits for a moment": (
        "backend/exchange.cu",
        "check(cudaStreamWaitEvent(reinterpret_cast<cudaStream_t>(stream), "
        "static_cast<cudaEvent_t>(event_)),",
        "check(stream ? cudaSuccess : cudaErrorInvalidValue,",
    ),
    "exchange: the host does not wait for a moment": (
        "backend/exchange.cu",
        "cudaEventSynchronize(static_cast<cudaEvent_t>(event_)) != cudaSuccess",
        "event_ == nullptr",
    ),
    "dlpack: who takes an array does not wait": (LENT, "now.hold(theirs);", ""),
    "dlpack: who lends one is told not to wait": (LENT, "stream_of(*queue))", "-1)"),
    "dlpack: a tensor goes back before it is read": (
        LENT,
        "reading_ ? wait_for_device(*queue_) : read_.wait();",
        "",
    ),
    "dlpack: a tensor never goes back": (
        "bindings/dlpack.hpp",
        "if (m->deleter) m->deleter(m);",
        "(void)m;",
    ),
    "dlpack: what was lent is freed at once": (
        "bindings/dlpack.hpp",
        "if (lent) wait_for_device(*queue);",
        "",
    ),
    "dlpack: a copy is shared": (
        LENT,
        "if (!copied.is_none() && copied.cast<bool>())",
        "if (false)",
    ),
    "dlpack: points that are kept change": (RESIDENT, "points_.use_count() == 1", "true"),
    "dlpack: points are made anew each time": (RESIDENT, "points_.use_count() == 1", "false"),
    "memory leaks": (
        "backend/cuda.cu",
        "if (p) (void)cudaFreeAsync(p, queue.stream());",
        "(void)p, (void)queue;",
    ),
}


def compile_commands(build: Path, room: str) -> list[tuple[list[str], str]]:
    """(command, source) of the CUDA sources as compiled for the emulated device."""
    found = []
    entries = json.loads((build / "compile_commands.json").read_text("utf-8"))
    if room == "bindings":
        own = (LENT, RESIDENT)
        mine = [e for e in entries if e["file"].endswith(own) and MODULE in e["command"]]
        return [(shlex.split(entry["command"]), entry["file"]) for entry in mine]
    for entry in entries:
        if "fastopt_cuda_emu" in entry["command"] and entry["file"].endswith(".cu"):
            found.append((shlex.split(entry["command"]), entry["file"]))
    if len(found) != len(list((ROOT / "csrc").rglob("*.cu"))):
        raise SystemExit(f"{build}: expected a build with FASTOPT_TESTS=ON and BUILD Ninja or Make")
    return found


def link_command(build: Path, target: str) -> list[str]:
    text = (
        subprocess.run(
            ["ninja", "-C", build, "-t", "commands", target],
            check=True,
            capture_output=True,
            text=True,
        )
        .stdout.strip()
        .splitlines()[-1]
    )
    command = shlex.split(text)
    while command[:2] == [":", "&&"]:
        command = command[2:]
    return command[: command.index("&&")]


def survives(build: Path, fault: tuple[str, str, str], folder: Path) -> bool:
    """Whether the tests pass with this fault; SystemExit where it cannot be planted."""
    name, old, new = fault
    tree = folder / "csrc"
    shutil.copytree(ROOT / "csrc", tree)
    source = tree / name
    text = source.read_text("utf-8")
    pattern = r"\s+".join(map(re.escape, old.split()))
    if not re.search(pattern, text):
        raise SystemExit(f"{name} has changed: this no longer stands there:\n{old}")
    source.write_text(re.sub(pattern, lambda _: new.strip(), text), "utf-8")
    objects = {}
    room = name.split("/")[0] if "/" in name else "cbo"
    for command, file in compile_commands(build, room):
        in_room = "cbo" if file.endswith("kernels.cu") else Path(file).parent.name
        if room not in ("backend", in_room):
            continue  # does not see the fault
        if name.startswith("admm_relu/paper") and "paper" not in file:
            continue
        if name.startswith("backend/exchange") and "exchange" not in file:
            continue
        mutated = [part.replace(str(ROOT / "csrc"), str(tree)) for part in command]
        output = mutated.index("-o") + 1
        objects[mutated[output]] = str(folder / (Path(file).stem + ".o"))
        mutated[output] = objects[mutated[output]]
        mutated = [p for p in mutated if not p.startswith(("-W", "-MD", "-MF", "-MT"))]
        mutated = [p for p in mutated if not p.endswith(".o.d") and "_emu.dir" not in p]
        mutated = [p for p in mutated if f"{MODULE}.dir" not in p]
        mutated = ["-O1" if part == "-O3" else part for part in mutated]
        subprocess.run([*mutated, "-w"], check=True, cwd=build)
    return all(passes(build, target, objects, folder) for target in TESTS[room])


def passes(build: Path, target: str, objects: dict[str, str], folder: Path) -> bool:
    link = [objects.get(part, part) for part in link_command(build, target)]
    link[link.index("-o") + 1] = str(folder / target)
    subprocess.run(link, check=True, cwd=build)
    run: list[str | Path] = [folder / target, "-aa=1"]
    environment = dict(os.environ)
    if target == MODULE:
        plugin = ["-p", "pytest_cuda_emu", "-p", "no:cacheprovider"]
        tests = ROOT / "tests/cuda_emu/test_device_arrays.py"
        run = [sys.executable, "-m", "pytest", "-qx", *plugin, "--rootdir", ROOT, tests]
        environment["PYTHONPATH"] = f"{ROOT / 'python'}:{ROOT / 'tests/cuda_emu'}"
        environment["FASTOPT_CUDA_MODULE"] = str(folder / target)
    try:
        done = subprocess.run(run, capture_output=True, timeout=300, env=environment)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main(argv: list[str]) -> int:
    build, names = Path(argv[0]).resolve(), argv[1:] or list(FAULTS)
    unseen = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            seen = not survives(build, FAULTS[name], Path(folder))
        print(f"{'caught ' if seen else 'UNSEEN '} {name}", flush=True)
        unseen += [] if seen else [name]
    print(f"{len(names) - len(unseen)} of {len(names)} planted faults caught")
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
