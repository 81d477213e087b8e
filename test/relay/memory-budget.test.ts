import { describe, expect, test } from 'vitest'
import { ADMIN_CONNECTIONS_MAX, BODY_BYTES_MAX } from '../../src/admin/admin.ts'
import { httpBounds } from '../../src/agent/settings.ts'
import { AUDIT_QUEUE_BYTES_MAX } from '../../src/audit/queue.ts'
import { SHARES_OF_TCP } from '../../src/caller/connection.ts'
import { parseConfig } from '../../src/config.ts'
import { AHEAD_MAX } from '../../src/http/pipelining.ts'
import { HEADERS_READ_MAX } from '../../src/http/request-order.ts'
import { RECEIVE_BUFFER_BYTES, SEND_BUFFER_BYTES } from '../../src/http/socket-buffers.ts'
import { LOG_WAITING_BYTES_MAX } from '../../src/log.ts'
import { SHARES_OF_PASSAGE } from '../../src/relay/observe.ts'
import { PROOF_BODY_BYTES_MAX } from '../../src/relay/proof.ts'
import { unitLimits } from '../harness/unit-file.ts'

/**
 * Whatever users do, what the agent can hold is less than what its unit gives it: with the defaults of the
 * configuration, as sums. What is measured and not chosen stands first. test/flow/memory.test.ts and
 * native/linux/test/socket.test.ts show that it is not more.
 */

const KIB = 1024
const MIB = 1024 * KIB

/** The process without its heap, at rest: what of its pages is its own. */
const RUNTIME_BYTES = 60 * MIB
/** What the heap has before anybody connects, once everything has run. */
const HEAP_AT_REST_BYTES = 24 * MIB
/** A page that holds a piece of an answer, and what the kernel knows of it. */
const PIECE_BYTES = 4096 + 512
/** What the kernel knows of an accepted connection: file, inode, name. */
const KERNEL_CONNECTION_BYTES = 2 * KIB
/** What a connection costs outside the heap: handle, parser, and what the allocator adds. */
const NATIVE_CONNECTION_BYTES = 8 * KIB
/** What it costs on the heap, with its caller and 256 groups of it. */
const HEAP_CONNECTION_BYTES = 8 * KIB
/** What a request costs on the heap, without its headers, and what each of those costs besides its text. */
const HEAP_REQUEST_BYTES = 2 * KIB
const HEAP_HEADER_BYTES = 80
/** Of one piece the kernel takes as much as its peer's window has seen, on TCP. */
const TCP_PIECE_BYTES = 64 * KIB
/** What Node reads at once, and hands on. */
const READ_BYTES = 64 * KIB
const { limits, cache } = parseConfig([])
const bounds = httpBounds(parseConfig([]))
const unit = unitLimits()

/** The kernel doubles what it is told, and lets one more piece begin below it. */
const sent = 2 * SEND_BUFFER_BYTES + PIECE_BYTES
const sentOverTcp = 2 * SEND_BUFFER_BYTES + TCP_PIECE_BYTES
const received = 2 * RECEIVE_BUFFER_BYTES + PIECE_BYTES
/** Of a request that has not ended, its headers wait outside the heap. */
const inProcess = NATIVE_CONNECTION_BYTES + limits.header_bytes_max
const perConnection = KERNEL_CONNECTION_BYTES + inProcess + sent
const perTcp = KERNEL_CONNECTION_BYTES + inProcess + sentOverTcp + received
/** Two of them, and what was read of either and not yet taken by the other. */
const perPassage = 2 * perTcp + 4 * READ_BYTES
const perRequest =
  HEAP_REQUEST_BYTES + limits.header_bytes_max + HEADERS_READ_MAX * HEAP_HEADER_BYTES

describe('the memory of the agent suffices for whatever users do', () => {
  test('all together is below MemoryMax= of the unit', () => {
    // What waits for the log and for the audit file is text, so it is on the heap.
    const connections = limits.connections * perConnection
    const admin = ADMIN_CONNECTIONS_MAX * (perConnection + BODY_BYTES_MAX)
    const all = RUNTIME_BYTES + unit.heapBytesMax + cache.bytes_max + connections + admin
    expect(all).toBeLessThanOrEqual(unit.memoryBytesMax)
  })

  test('a body that is kept takes no more than the headers, which are on the heap by then', () => {
    expect(PROOF_BODY_BYTES_MAX).toBeLessThanOrEqual(limits.header_bytes_max)
  })

  test('one over TCP counts for what it may hold', () => {
    expect(perTcp).toBeLessThanOrEqual(SHARES_OF_TCP * perConnection)
    expect(perPassage).toBeLessThanOrEqual(SHARES_OF_PASSAGE * perConnection)
  })

  test('the heap holds a request for each connection, and those that are sent ahead', () => {
    const connections = (limits.connections + ADMIN_CONNECTIONS_MAX) * HEAP_CONNECTION_BYTES
    const requests = (limits.connections + ADMIN_CONNECTIONS_MAX + AHEAD_MAX) * perRequest
    const records = LOG_WAITING_BYTES_MAX + AUDIT_QUEUE_BYTES_MAX
    const all = HEAP_AT_REST_BYTES + connections + requests + records
    expect(all).toBeLessThanOrEqual(unit.heapBytesMax)
  })

  test('descriptors suffice: one for a connection, two for one that is observed', () => {
    const others = 256
    const all = 2 * limits.connections + ADMIN_CONNECTIONS_MAX + others
    expect(all).toBeLessThanOrEqual(unit.descriptorsMax)
    expect(bounds.connections).toBe(limits.connections)
  })
})
