// Printed by gcc -x c -D SLOTS_PRINT scripts/powercut.d/workloads/slots.h.
const VECTORS: [(usize, u64); 6] = [
    (1, 1760),
    (1, 1006),
    (1, 627),
    (120, 522),
    (10, 235),
    (1, 638),
];
const SUM: u64 = 3615656328921721820;
