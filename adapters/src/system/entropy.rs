//! The system's randomness.

use portcullis_domain::secret::Secret;
use portcullis_ports::{Entropy, NoEntropy};
use ring::rand::{SecureRandom, SystemRandom};

/// The operating system's generator.
#[derive(Debug)]
pub struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    /// The generator.
    #[must_use]
    pub fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Default for SystemEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for SystemEntropy {
    fn draw(&self) -> Result<Secret<32>, NoEntropy> {
        let mut bytes = [0; 32];
        self.0.fill(&mut bytes).map_err(|_| NoEntropy)?;
        Ok(Secret::new(bytes))
    }
}
