/** Paths of the agent's own on the metadata socket. */
export const OWN_PREFIX = '/metabind/'
export const WHOAMI_PATH = '/metabind/v1/whoami'
export const INSPECT_PATH = '/metabind/v1/inspect'
export const IDENTITY_PATH = '/metabind/v1/identity'
export const CREDENTIALS_URL_PATH = '/metabind/v1/credentials-uri'
/** What follows is the path that is asked about. */
export const EXPLAIN_PREFIX = '/metabind/v1/explain/'

export const OWN_PATHS: readonly string[] = [
  WHOAMI_PATH,
  INSPECT_PATH,
  IDENTITY_PATH,
  CREDENTIALS_URL_PATH,
]
