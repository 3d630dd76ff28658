/* kcheck_machine.c - the machine that kcheck runs on: this one. */
#include "kcheck_impl.h"

kc_machine kc_machine_detect(void) { return (kc_machine){.flags = cpu_flags_detect(), .note = ""}; }
