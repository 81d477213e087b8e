import { openSync } from 'node:fs'
import { expect, test } from 'vitest'
import { isUnseen, lacksDescriptor, unknownBecause } from '../../src/caller/unknown.ts'
import { MetabindError } from '../../src/errors.ts'
import { withoutDescriptors } from '../harness/descriptors.ts'

function errorOf(act: () => unknown): unknown {
  try {
    act()
  } catch (error) {
    return error
  }
  throw new Error('nothing failed')
}

const missing = errorOf(() => openSync('/proc/self/no-such-file', 'r'))
const noDescriptor = withoutDescriptors(() => errorOf(() => openSync('/dev/null', 'r')))

test('a caller is unknown for whatever failed, with that in the record', () => {
  const unknown = unknownBecause('it cannot be read', missing)
  expect(unknown).toMatchObject({
    code: 'CALLER_UNKNOWN',
    detail: expect.stringMatching(/^it cannot be read: ENOENT.*no-such-file/),
  })
  expect([lacksDescriptor(missing), isUnseen(unknown)]).toEqual([false, false])
})

test('a reason that is known already is kept, any other failure is not one', () => {
  const why = new MetabindError('CALLER_UNKNOWN', 'for a reason')
  expect(unknownBecause('it cannot be read', why)).toBe(why)
  const other = unknownBecause('it cannot be read', new MetabindError('PROC_HIDDEN', 'status'))
  expect(other.code).toBe('CALLER_UNKNOWN')
  expect(unknownBecause('it cannot be read', new Error('no code')).code).toBe('CALLER_UNKNOWN')
})

test('for want of a descriptor it may be asked again', () => {
  const unseen = unknownBecause('it cannot be read', noDescriptor)
  expect(unseen.code).toBe('LIMIT_CONNECTIONS')
  expect([lacksDescriptor(noDescriptor), isUnseen(unseen)]).toEqual([true, true])
  const ofMachine = Object.assign(new Error('no file table entry'), { code: 'ENFILE' })
  expect(lacksDescriptor(ofMachine)).toBe(true)
  expect([isUnseen(undefined), isUnseen(noDescriptor)]).toEqual([false, false])
})
