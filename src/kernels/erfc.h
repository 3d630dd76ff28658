/* erfc.h - the polynomial of erfc for vector code.
 *
 *   erfc(z) = t e^(P(t) - z^2), t = 1 / (1 + z / 2), z >= 0
 *
 * with a relative error below 1.2e-7 everywhere (W. H. Press et al., "Numerical Recipes", 6.2: a
 * Chebyshev fit), so that the tail of GELU keeps its digits. Highest power of t first.
 */
#ifndef WEFT_KERNELS_ERFC_H
#define WEFT_KERNELS_ERFC_H

#define ERFC_LIST(X) \
    X(0.17087277f)   \
    X(-0.82215223f)  \
    X(1.48851587f)   \
    X(-1.13520398f)  \
    X(0.27886807f)   \
    X(-0.18628806f)  \
    X(0.09678418f)   \
    X(0.37409196f)   \
    X(1.00002368f)   \
    X(-1.26551223f)

#endif /* WEFT_KERNELS_ERFC_H */
