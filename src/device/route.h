/* route.h - from a router's logits to the experts of a row and their weights.
 */
#ifndef WEFT_DEVICE_ROUTE_H
#define WEFT_DEVICE_ROUTE_H

#include "kernels/kernels.h"
#include "layout/experts.h"

/* id [n_used], best first, and weight [n_used] <- logits [n_experts]; bias [n_experts] or NULL.
 * Whatever the logits hold, the ids are different and below n_experts. */
void route_row(const kernels_cpu *k, const expert_routing *r, const float *logits,
               const float *bias, uint32_t *id, float *weight);

#endif /* WEFT_DEVICE_ROUTE_H */
