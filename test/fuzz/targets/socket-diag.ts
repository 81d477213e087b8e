import assert from 'node:assert/strict'
import { LinuxError } from '../../../native/linux/src/error.ts'
import {
  HEADER_BYTES,
  messageIn,
  ownerIn,
  SOCK_DIAG_BY_FAMILY,
  socketId,
} from '../../../native/linux/src/sockdiag-answer.ts'
import { altered, Choices } from '../choices.ts'
import { asItIs, CHOSEN, chosen, type FuzzTarget } from '../target.ts'

const ENDS = {
  localAddress: '127.0.0.1',
  localPort: 40_000,
  remoteAddress: '127.0.0.1',
  remotePort: 80,
}
const ID = socketId(ENDS)
const OTHER = socketId({ ...ENDS, localPort: 40_001 })

/** What the kernel answers: struct nlmsghdr, struct inet_diag_msg, then an attribute with the cgroup. */
function answerOf(id: Buffer): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + 72 + 12)
  bytes.writeUInt32LE(bytes.length, 0)
  bytes.writeUInt16LE(SOCK_DIAG_BY_FAMILY, 4)
  bytes.set([2, 1], HEADER_BYTES)
  id.copy(bytes, HEADER_BYTES + 4)
  bytes.writeUInt32LE(1000, HEADER_BYTES + 64)
  bytes.writeUInt32LE(4242, HEADER_BYTES + 68)
  bytes.writeUInt16LE(12, HEADER_BYTES + 72)
  bytes.writeUInt16LE(21, HEADER_BYTES + 74)
  bytes.writeBigUInt64LE(7n, HEADER_BYTES + 76)
  return bytes
}
const GENUINE = [answerOf(ID), answerOf(OTHER)] as const

export const target: FuzzTarget = {
  execution: 'one answer of sock_diag read; nobody is named whose socket was not asked for',
  bytesMax: 256,
  turns: 4,
  seeds: () => [
    ...GENUINE.map(asItIs),
    chosen(0, 0, 0, 0, 0, 0, 3),
    chosen(1, 0, 5, 0, 0, 0, 17, 1),
  ],
  run(input) {
    const choices = new Choices(input)
    const isChosen = choices.byte() === CHOSEN
    const bytes = isChosen ? altered(choices.pick(GENUINE), choices) : choices.rest()
    if (bytes.length < HEADER_BYTES) return
    let owner: ReturnType<typeof ownerIn>
    try {
      const message = messageIn(bytes, SOCK_DIAG_BY_FAMILY)
      owner = message === undefined ? undefined : ownerIn(message, ID)
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error
      return
    }
    if (owner === undefined) return
    // As the structures of linux/inet_diag.h lie, read by their offsets alone.
    assert.ok(bytes.length >= HEADER_BYTES + 72)
    assert.equal(owner.uid, bytes.readUInt32LE(HEADER_BYTES + 64))
    assert.equal(owner.inode, bytes.readUInt32LE(HEADER_BYTES + 68))
    assert.ok(owner.inode > 0 && [1, 4, 5].includes(bytes.readUInt8(HEADER_BYTES + 1)))
    assert.ok(
      bytes.subarray(HEADER_BYTES + 4, HEADER_BYTES + 8).equals(ID.subarray(0, 4)),
      'other ports',
    )
  },
}
