#include "decode.h"
#include "../workloads/mark.h"
#include <string.h>

static int32_t number(const uint8_t *at)
{
	int32_t value;
	memcpy(&value, at, sizeof value);
	return value;
}

/* ModRM, SIB and displacement (SDM volume 2, 2.1.5) of an operand in memory. */
static struct operand memory(const uint8_t *at, bool wide_base, bool wide_index)
{
	struct operand operand = {.base = NO_REGISTER, .index = NO_REGISTER};
	uint8_t mod = at[0] >> 6, rm = at[0] & 7;
	at++;
	if (rm == 4) {
		uint8_t index = (at[0] >> 3 & 7) | wide_index << 3;
		operand.shift = at[0] >> 6;
		if (index != 4)
			operand.index = index;
		if ((at[0] & 7) == 5 && mod == 0) {
			operand.displacement = number(at + 1);
			return operand;
		}
		operand.base = (at[0] & 7) | wide_base << 3;
		at++;
	} else if (rm == 5 && mod == 0) {
		operand.relative = true;
		operand.displacement = number(at);
		return operand;
	} else {
		operand.base = rm | wide_base << 3;
	}
	if (mod == 1)
		operand.displacement = (int8_t)at[0];
	else if (mod == 2)
		operand.displacement = number(at);
	return operand;
}

/* The opcodes behind 0x0f. */
static struct decoded two_bytes(const uint8_t *at, size_t left, bool prefix_66, bool prefix_repeat, uint8_t rex)
{
	struct decoded decoded = {0};
	uint8_t modrm = left > 1 ? at[1] : 0, operation = modrm >> 3 & 7;
	bool register_form = modrm >> 6 == 3;
	switch (at[0]) {
	case 0x05:
		decoded.what = SYSTEM_CALL;
		break;
	case 0x01:
		if (operation == 7 && !register_form)
			decoded.what = FORGET_PAGE;
		break;
	case 0xe7: /* movntq, movntdq */
	case 0x2b: /* movntps, movntpd */
	case 0xc3: /* movnti */
		decoded.what = STORE_AROUND;
		break;
	case 0xae:
		if (prefix_repeat || left < 2)
			break;
		if (register_form) {
			/* With 0x66 that is tpause. */
			if ((operation == 6 || operation == 7) && !prefix_66)
				decoded.what = FENCE;
			break;
		}
		if (operation == 7)
			decoded.what = prefix_66 ? WRITE_BACK : FLUSH;
		else if (operation == 6 && prefix_66)
			decoded.what = WRITE_BACK;
		else
			break;
		decoded.operand = memory(at + 1, rex & 1, rex & 2);
		break;
	}
	return decoded;
}

struct decoded decode(const uint8_t *code, size_t length)
{
	static const uint8_t mark_bytes[] = {MARK_BYTES};
	struct decoded none = {0}, fence = {.what = FENCE};
	bool prefix_66 = false, prefix_repeat = false, lock = false;
	uint8_t rex = 0;
	size_t at = 0;

	if (length == sizeof mark_bytes && memcmp(code, mark_bytes, length) == 0)
		return (struct decoded){.what = MARK};
	for (; at < length; at++) {
		uint8_t byte = code[at];
		if (byte == 0x66)
			prefix_66 = true;
		else if (byte == 0xf0)
			lock = true;
		else if (byte == 0xf2 || byte == 0xf3)
			prefix_repeat = true;
		else if (!(byte == 0x67 || byte == 0x2e || byte == 0x36 || byte == 0x3e || byte == 0x26 ||
			   byte == 0x64 || byte == 0x65))
			break;
	}
	if (lock)
		return fence;
	if (at < length && (code[at] & 0xf0) == 0x40)
		rex = code[at++];
	if (at + 1 >= length)
		return none;
	switch (code[at]) {
	case 0x0f:
		return two_bytes(code + at + 1, length - at - 1, prefix_66, prefix_repeat, rex);
	case 0x86:
	case 0x87: /* xchg: locked by itself where it is with memory */
		return code[at + 1] >> 6 != 3 ? fence : none;
	case 0xe8:
		if (at + 5 == length)
			return (struct decoded){.what = CALL, .target = number(code + at + 1)};
		return none;
	case 0xc5: /* VEX: vmovntdq, vmovntps */
		if (at + 2 < length && (code[at + 2] == 0xe7 || code[at + 2] == 0x2b))
			return (struct decoded){.what = STORE_AROUND};
		return none;
	case 0xc4:
		if (at + 3 < length && (code[at + 1] & 0x1f) == 1 && (code[at + 3] == 0xe7 || code[at + 3] == 0x2b))
			return (struct decoded){.what = STORE_AROUND};
		return none;
	}
	return none;
}
