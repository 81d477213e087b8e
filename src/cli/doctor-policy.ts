import { type ErrorCode, MetabindError } from '../errors.ts'
import { configOf, type Finding, findingOf, type Installation } from './doctor-finding.ts'
import { readPolicy } from './policy.ts'

// Whether a file may be read, and belongs to the agent, this user cannot tell for the agent.
const OF_THE_READER: readonly ErrorCode[] = ['POLICY_UNREADABLE', 'POLICY_UNSAFE']

/** Whether the policy is valid, and everybody in it is somebody here. */
export async function checkPolicy(installation: Installation): Promise<Finding[]> {
  const config = configOf(installation)
  if (config === undefined) return []
  try {
    const policy = await readPolicy(config.policy.file)
    return policy.unknownAccounts.map(unknownAccount)
  } catch (error) {
    if (!(error instanceof MetabindError)) throw error
    return OF_THE_READER.includes(error.code) ? [] : [findingOf('policy', error)]
  }
}

function unknownAccount(unknown: string): Finding {
  const says = `The policy names somebody who is not here, and the rule matches nobody by this name. ${unknown}`
  const remedy =
    'Correct the name, or see to it that getent finds it; then systemctl reload metabindd.'
  return { id: 'policy-unknown-account', weight: 'risk', says, remedy }
}
