import { openTpm, TpmError } from 'tpm2-js'
import { expect, test } from 'vitest'
import { startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { AK_TEMPLATE } from '../../src/format/tpm-templates.ts'
import { isLackOfRoom, roomMaker } from '../../src/identity/tpm-room.ts'

/** What is flushed in a TPM without resource manager, and what is left alone. */

test.each([
  ['device:/dev/tpm0', true],
  ['device:/dev/tpm12', true],
  ['swtpm:path=/run/swtpm', true],
  ['mssim:host=localhost,port=2321', true],
  ['device:/dev/tpmrm0', false],
  ['device:/srv/tpm0', false],
  ['tabrmd', false],
  ['tabrmd:bus_type=system', false],
])('room is made behind %s: %s', (tcti, expected) => {
  expect(roomMaker(tcti) !== undefined).toBe(expected)
})

test.each([
  [0x902, true],
  [0x903, true],
  [0x904, true],
  [0x905, true],
  [0x906, true],
  [0x922, false],
  [0x921, false],
  [0x14a, false],
])('response code %i is a lack of room: %s', (rc, expected) => {
  expect(isLackOfRoom(new TpmError('TPM_RC', 'refused', { rc }))).toBe(expected)
})

test('only what stays loaded from one lack to the next is flushed', async () => {
  await using stack = new AsyncDisposableStack()
  const swtpm = await startSwtpm()
  stack.defer(() => swtpm.stop())
  const open = async () => {
    const tpm = await openTpm({ tcti: swtpm.tcti })
    stack.defer(() => tpm.close())
    return tpm
  }
  const [ours, theirs] = [await open(), await open()]
  const makeRoom = roomMaker(swtpm.tcti)
  const loaded = () => ours.sequence((commands) => commands.loadedHandles())
  await theirs.sequence(async (commands) => {
    // They hold one object over both lacks, and load another between the two.
    await commands.createPrimary('owner', AK_TEMPLATE)
    await makeRoom?.(ours)
    expect(await loaded()).toEqual([0x8000_0000])
    await commands.createPrimary('owner', AK_TEMPLATE)
    await commands.startAuthSession({ type: 'hmac' })
    await makeRoom?.(ours)
    expect(await loaded()).toEqual([0x8000_0001, 0x0200_0000])
    await makeRoom?.(ours)
    expect(await loaded()).toEqual([])
  })
})
