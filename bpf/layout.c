// SPDX-License-Identifier: GPL-2.0-only
/* No program: the maps and types, from which the loader creates and Go's types are generated. */
#include "maps.h"

/* No map has these as key or value; a reference keeps them in the BTF. */
struct drop_event *event_type __attribute__((unused));
struct flow_head *flow_head_type __attribute__((unused));
struct flow_request *request_type __attribute__((unused));
enum hook hook_type __attribute__((unused));
enum verdict verdict_type __attribute__((unused));
enum flow_target target_type __attribute__((unused));

char _license[] SEC("license") = "GPL";
